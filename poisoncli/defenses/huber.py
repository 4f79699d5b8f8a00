"""Huber regression (Huber 1964) by scikit-learn, as weights of the rows."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np

from poisoncli.core.data import Array, Data, Task
from poisoncli.core.defense import Clues, Learner, Verdict
from poisoncli.core.method import method, option
from poisoncli.defenses.rejection import check_real, dense

EPSILONS = (1.1, 1.35, 2.0, 3.5, 6.0, 10.0)  # SPR Appendix E explores [1.1, 10]


@method
class Huber:
    """Fits a line with the Huber loss and gives each row the weight that this loss gives it.

    A row within epsilon * sigma of the line has weight 1, one farther away epsilon * sigma / |residual|: least
    squares with these weights has the Huber estimate as its solution, so any model can be trained with them.
    The score is |residual| / sigma.

    epsilon: at least 1.1, or 0: of six values in [1.1, 10] the one whose line fits the trusted rows best,
    1.35 if there are none.
    penalty: coefficient of the squared weights, at least 0 (lambda_Huber).
    iterations: at most; at least 1 (T_Huber).
    """

    usual_for: ClassVar[tuple[Task, ...]] = ("real",)

    epsilon: float = option(0.0, low=0)
    penalty: float = option(1e-4, low=0)
    iterations: int = option(10_000, low=1)

    def knows(self) -> str:
        return "nothing" if self.epsilon else "trusted rows, to choose epsilon"

    def weigh(self, key: Array, data: Data, learner: Learner, clues: Clues) -> Verdict:
        """See `Defense.weigh`; why: the residual."""
        check_real("huber", learner, data)
        x, y = np.asarray(dense(data.x), float), np.asarray(data.y, float)
        trusted = clues.trusted
        few = len(trusted.y) == 0
        tried = [max(self.epsilon, 1.1)] if self.epsilon else [1.35] if few else EPSILONS
        best, least = None, np.inf
        for epsilon in tried:
            found = self._fit(x, y, epsilon)
            loss = 0.0 if len(tried) == 1 else np.mean((found.predict(dense(trusted.x)) - trusted.y) ** 2)
            if best is None or loss < least:
                best, least = found, loss
        residual = y - best.predict(x)  # type: ignore[union-attr]
        distance = np.abs(residual) / max(best.scale_, np.finfo(np.float32).tiny)  # type: ignore[union-attr]
        weight = np.minimum(1, best.epsilon / np.maximum(distance, np.finfo(float).tiny))  # type: ignore[union-attr]
        return Verdict(weight.astype(np.float32), distance, {"residual": residual})

    def _fit(self, x: np.ndarray, y: np.ndarray, epsilon: float) -> Any:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import HuberRegressor

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # near enough; the weights are robust to it
            return HuberRegressor(epsilon=epsilon, alpha=self.penalty, max_iter=self.iterations).fit(x, y)
