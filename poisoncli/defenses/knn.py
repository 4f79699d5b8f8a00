"""The k-nearest-neighbors defense (Frederickson et al. 2018; KSL section 2.2)."""

from __future__ import annotations

from typing import ClassVar

from poisoncli.core.data import Array, Data, Task
from poisoncli.core.defense import Clues, Learner, Verdict
from poisoncli.core.method import method, option
from poisoncli.sanitization.filters import REMOVE, ROUNDS, filtered, neighbor_scores


@method
class KNN:
    """Drops the rows farthest from their k-th nearest neighbor, whatever its class.

    remove: share of each class to drop, in [0, 0.5].
    rounds: in how many rounds, fitted anew on the rows that are left.
    k: which neighbor, at least 1 (KSL: 5).
    total: instead of that distance the sum of the k smallest, the row's own 0 among them (the authors' code).
    """

    usual_for: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")
    trains: ClassVar[bool] = False

    remove: float = REMOVE
    rounds: int = ROUNDS
    k: int = option(default=5, low=1)
    total: bool = False

    def knows(self) -> str:
        return "nothing"

    def weigh(self, key: Array, data: Data, learner: Learner, clues: Clues) -> Verdict:
        """See `Defense.weigh`; the score is the distance."""
        return filtered(
            data, learner, self.remove, self.rounds, lambda rows: neighbor_scores(rows.x, self.k, self.total)
        )
