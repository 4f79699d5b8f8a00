"""The L2 defense (KSL section 2.2)."""

from __future__ import annotations

from typing import ClassVar

from poisoncli.core.data import Array, Data, Task
from poisoncli.core.defense import Clues, Learner, Verdict
from poisoncli.core.method import method
from poisoncli.sanitization.filters import REMOVE, ROUNDS, filtered, l2_scores


@method
class L2:
    """Drops the rows farthest from the centroid of their class.

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
        """See `Defense.weigh`; the score is the distance to the centroid."""
        return filtered(data, learner, self.remove, self.rounds, lambda rows: l2_scores(rows.x, rows.y))
