"""BayesClean: rows outside the predictive distribution of a Bayesian linear regression (SPR V, Algorithm 5)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from poisoncli.core.data import Array, Data, Task
from poisoncli.core.defense import Clues, Learner, Verdict
from poisoncli.core.method import method, option
from poisoncli.defenses.rejection import check_real, dense


@method
class BayesClean:
    """Accepts rows near the predictive mean (I1), flags those farther out (I2) and rejects the rest (I3).

    With the `printed` rule row i is in I1 if |y_i| <= |mu_i + c1 sigma_i| (Algorithm 5, standardized targets);
    with the `magnitude` rule if |y_i| <= |mu_i| + c1 sigma_i, which treats mu and -mu alike where the printed one
    narrows I1 for a negative mu; with the `interval` rule if |y_i - mu_i| <= c1 sigma_i, as the paper's text says.
    c2 parts I2 from I3. The filter is linear whatever the model. The score is positive outside I1.

    c1, c2: widths in standard deviations, c1 at least 0; c2 below c1 counts as c1.
    flagged: `reject` the rows of I2 too, as the paper does, or `keep` them.
    rule: `magnitude`, which costs least of the two that hold against much poison, `printed` or `interval`.
    rounds: updates of the hyperparameters, at most; at least 1 (T_EM).
    """

    usual_for: ClassVar[tuple[Task, ...]] = ("real",)

    c1: float = option(0.5, low=0)
    c2: float = option(1.5, low=0)
    flagged: str = option("reject", choices=("reject", "keep"))
    rule: str = option("magnitude", choices=("printed", "magnitude", "interval"))
    rounds: int = option(300, low=1)

    def knows(self) -> str:
        return "nothing"

    def weigh(self, key: Array, data: Data, learner: Learner, clues: Clues) -> Verdict:
        """See `Defense.weigh`; why: mean, std, residual, and the set (1, 2 or 3) of each row."""
        check_real("bayesclean", learner, data)
        x, y = np.asarray(dense(data.x), float), np.asarray(data.y, float)
        mean, std = self.predictive(x, y, x)
        inner, outer = (self._excess(y, *edges) for edges in self.regions(mean, std))
        number = np.where(inner <= 0, 1, np.where(outer <= 0, 2, 3))
        weight = (number <= (1 if self.flagged == "reject" else 2)).astype(np.float32)
        return Verdict(weight, inner / std, {"mean": mean, "std": std, "residual": y - mean, "set": number})

    def predictive(self, x: np.ndarray, y: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation [k] of the predictive distribution at the features `at` [k, m].

        The regression is fitted to x [n, m], y [n] with a free intercept by the evidence approximation, with Gamma
        hyperpriors of shape and rate 1e-6 (MacKay 1992; SPR V-A): scikit-learn's with its defaults.
        """
        from sklearn.linear_model import BayesianRidge

        regression = BayesianRidge(max_iter=self.rounds).fit(np.asarray(x, float), np.asarray(y, float))
        return regression.predict(np.asarray(at, float), return_std=True)

    def regions(self, mean: np.ndarray, std: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Lowest and highest target of I1, and of I1 and I2 together, for predictive means and deviations [n]."""
        widths = [c * std for c in (self.c1, max(self.c1, self.c2))]
        if self.rule == "printed":
            return [(-np.abs(mean + width), np.abs(mean + width)) for width in widths]
        if self.rule == "magnitude":
            return [(-np.abs(mean) - width, np.abs(mean) + width) for width in widths]
        return [(mean - width, mean + width) for width in widths]

    def _excess(self, y: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """How far each row lies outside, in the unit of the target; at most 0 inside."""
        return np.maximum(low - y, y - high)
