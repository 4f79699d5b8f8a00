"""DUTI: debugging with trusted items (Zhang, Zhu and Wright 2018), for linear learners in closed form."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from poisoncli.core.data import Array, Data, Task
from poisoncli.core.defense import Clues, Learner, Verdict
from poisoncli.core.errors import PoisonError
from poisoncli.core.method import method, option
from poisoncli.defenses.rejection import check_real, dense, drop, rejected, share


@method
class Duti:
    """Asks which targets must change so that a ridge regression on them also fits the trusted rows.

    It minimizes over changes delta of the targets
    c/m sum (trusted residuals)^2 / 2 + 1/n sum (training residuals)^2 / 2 + gamma/n ||delta||_1,
    where the learner is the closed-form ridge regression of y + delta. gamma falls until enough rows have
    changed; the rows that change first are the most suspicious. The filter is linear whatever the model.

    fraction: share of the rows to reject, in [0, 1) (SPR Appendix E: 0.4).
    penalty: of the learner, positive (lambda_DUTI).
    confidence: in the trusted rows, positive (c_DUTI).
    trusted: how many of the trusted rows to use; 0 means 3 % of the number of training rows, at least 2.
    steps: of each proximal descent, at least 1.
    told: reject the true number of poison rows instead of the fraction.
    """

    usual_for: ClassVar[tuple[Task, ...]] = ("real",)

    fraction: float = option(0.4, low=0, high=1)
    penalty: float = option(0.1, above=0)
    confidence: float = option(100.0, above=0)
    trusted: int = option(0, low=0)
    steps: int = option(50, low=1, high=10_000)
    told: bool = False

    def knows(self) -> str:
        return f"trusted rows, {share(self.fraction, self.told)}"

    def weigh(self, key: Array, data: Data, learner: Learner, clues: Clues) -> Verdict:
        """See `Defense.weigh`; the score is 1 / (1 + step of gamma at which the target changed), plus its size."""
        check_real("duti", learner, data)
        n = len(data.y)
        count = rejected(n, self.fraction, self.told, clues)
        use = self.trusted or max(2, round(0.03 * n))
        if len(clues.trusted.y) == 0:
            raise PoisonError("defense duti needs trusted rows: give a file of clean rows with --trusted")
        rows = np.asarray(dense(data.x), float), np.asarray(data.y, float)
        trusted = np.asarray(dense(clues.trusted.x), float)[:use], np.asarray(clues.trusted.y, float)[:use]
        score, delta = self._path(rows, trusted, max(count, 1))
        return Verdict(drop(score, count), score, {"correction": delta})

    def _path(
        self, rows: tuple[np.ndarray, np.ndarray], trusted: tuple[np.ndarray, np.ndarray], count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores and changes [n]; gamma falls by a fifth a step until `count` rows have changed."""
        (x, y), (z, t) = ((_with_one(part), target) for part, target in (rows, trusted))
        n, m = len(y), len(t)
        fold = np.full(x.shape[1], n * self.penalty)
        fold[-1] = 1e-9 * n  # the bias is free
        solve = np.linalg.solve(x.T @ x + np.diag(fold), x.T)  # weights = solve @ targets

        def gradient(targets: np.ndarray) -> np.ndarray:
            weights = solve @ targets
            own = targets - x @ weights
            far = self.confidence / m * (z.T @ (z @ weights - t))
            return solve.T @ far + (own - solve.T @ (x.T @ own)) / n

        # the Hessian: A' Z'Z A c/m + (I - H)'(I - H) / n
        bound = self.confidence / m * np.linalg.norm(z @ solve, 2) ** 2 + 1 / n
        gamma = np.max(np.abs(gradient(y)))
        delta, score = np.zeros(n), np.zeros(n)
        for number in range(60):
            gamma *= 0.8
            delta = _proximal(gradient, y, delta, gamma, 1 / bound, self.steps)
            fresh = (delta != 0) & (score == 0)
            size = np.abs(delta) / (1 + np.max(np.abs(delta)))
            score[fresh] = 60 - number + size[fresh]
            if np.sum(score > 0) >= count:
                break
        return score, delta


def _with_one(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)


def _proximal(gradient, y, delta, gamma, step, count):
    """FISTA (Beck and Teboulle 2009): minimize f(y + delta) + gamma ||delta||_1 from `delta`."""
    ahead, momentum = delta, 1.0
    for _ in range(count):
        moved = ahead - step * gradient(y + ahead)
        shrunk = np.sign(moved) * np.maximum(np.abs(moved) - gamma * step, 0)
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = shrunk + (momentum - 1) / following * (shrunk - delta)
        delta, momentum = shrunk, following
    return delta
