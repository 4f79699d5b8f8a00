"""The slab defense (Steinhardt et al. 2017; KSL section 2.2)."""

from __future__ import annotations

from typing import ClassVar

from poisoncli.core.data import Array, Data, Task
from poisoncli.core.defense import Clues, Learner, Verdict
from poisoncli.core.method import method
from poisoncli.sanitization.filters import REMOVE, ROUNDS, filtered, slab_scores


@method
class Slab:
    """Drops the rows farthest from their class's centroid along the line between the centroids.

    With more than two classes the farthest along any of the lines to the other centroids.

    remove: share of each class to drop, in [0, 0.5].
    rounds: in how many rounds, fitted anew on the rows that are left.
    """

    usual_for: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")
    trains: ClassVar[bool] = False

    remove: float = REMOVE
    rounds: int = ROUNDS

    def knows(self) -> str:
        return "nothing"

    def weigh(self, key: Array, data: Data, learner: Learner, clues: Clues) -> Verdict:
        """See `Defense.weigh`; the score is |<mu_1 - mu_0, x - mu_y>|."""
        return filtered(data, learner, self.remove, self.rounds, lambda rows: slab_scores(rows.x, rows.y))
