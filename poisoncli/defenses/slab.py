"""The slab defense (Steinhardt et al. 2017; KSL section 2.2)."""

from __future__ import annotations

from typing import ClassVar

from poisoncli.core.data import Array, Data, Task
from poisoncli.core.defense import Clues, Learner, Verdict
from poisoncli.core.method import method, option
from poisoncli.sanitization.filters import check_classes, keep, slab_scores


@method
class Slab:
    """Drops the rows farthest from their class's centroid along the line between the centroids.

    With more than two classes the farthest along any of the lines to the other centroids.

    remove: share of each class to drop, in [0, 0.5].
    """

    usual_for: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")

    remove: float = option(0.05, low=0, high=0.5)

    def knows(self) -> str:
        return "nothing"

    def weigh(self, key: Array, data: Data, learner: Learner, clues: Clues) -> Verdict:
        """See `Defense.weigh`; the score is |<mu_1 - mu_0, x - mu_y>|."""
        check_classes(data, learner)
        scores = slab_scores(data.x, data.y)
        return Verdict(keep(scores, data.y, self.remove).astype("float32"), scores, {})
