"""The loss defense (KSL section 2.2)."""

from __future__ import annotations

from typing import ClassVar

from poisoncli.core.data import Array, Data, Task
from poisoncli.core.defense import Clues, Learner, Verdict
from poisoncli.core.method import method, option
from poisoncli.sanitization.filters import check_classes, keep
from poisoncli.training.optimum import training_scores


@method
class Loss:
    """Drops the rows with the highest loss under the model that is trained on all rows.

    remove: share of each class to drop, in [0, 0.5].
    """

    usual_for: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")

    remove: float = option(0.05, low=0, high=0.5)

    def knows(self) -> str:
        return "nothing"

    def weigh(self, key: Array, data: Data, learner: Learner, clues: Clues) -> Verdict:
        """See `Defense.weigh`; the score is the loss, or for an svm minus its margin."""
        check_classes(data, learner)
        scores = training_scores(key, data, learner)
        return Verdict(keep(scores, data.y, self.remove).astype("float32"), scores, {})
