"""The SVD defense (Rubinstein et al. 2009; KSL section 2.2)."""

from __future__ import annotations

from typing import ClassVar

from poisoncli.core.data import Array, Data, Task
from poisoncli.core.defense import Clues, Learner, Verdict
from poisoncli.core.method import method, option
from poisoncli.sanitization.filters import REMOVE, ROUNDS, filtered, subspace_scores


@method
class SVD:
    """Drops the rows farthest from the span of the top right singular vectors of all rows.

    The least number of vectors is taken that leaves less than `share` of the squared Frobenius norm.

    remove: share of each class to drop, in [0, 0.5].
    rounds: in how many rounds, fitted anew on the rows that are left.
    share: of the squared norm left out, in (0, 1) (KSL: 0.05).
    centered: also put the class means into the span and measure x - mu_y (the authors' code).
    """

    usual_for: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")
    trains: ClassVar[bool] = False

    remove: float = REMOVE
    rounds: int = ROUNDS
    share: float = option(default=0.05, above=0, high=0.99)
    centered: bool = False

    def knows(self) -> str:
        return "nothing"

    def weigh(self, key: Array, data: Data, learner: Learner, clues: Clues) -> Verdict:
        """See `Defense.weigh`; the score is the distance to the span."""
        return filtered(
            data,
            learner,
            self.remove,
            self.rounds,
            lambda rows: subspace_scores(rows.x, rows.y, self.share, self.centered),
        )
