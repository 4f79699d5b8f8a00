"""The L2 defense (KSL section 2.2)."""

from __future__ import annotations

from typing import ClassVar

from poisoncli.core.data import Array, Data, Task
from poisoncli.core.defense import Clues, Learner, Verdict
from poisoncli.core.method import method, option
from poisoncli.sanitization.filters import check_classes, keep, l2_scores


@method
class L2:
    """Drops the rows farthest from the centroid of their class.

    remove: share of each class to drop, in [0, 0.5].
    """

    usual_for: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")

    remove: float = option(0.05, low=0, high=0.5)

    def knows(self) -> str:
        return "nothing"

    def weigh(self, key: Array, data: Data, learner: Learner, clues: Clues) -> Verdict:
        """See `Defense.weigh`; the score is the distance to the centroid."""
        check_classes(data, learner)
        scores = l2_scores(data.x, data.y)
        return Verdict(keep(scores, data.y, self.remove).astype("float32"), scores, {})
