"""Logistic regression (HLP V-A), of two classes or more: parameters start at zero."""

from __future__ import annotations

import warnings
from typing import ClassVar

import numpy as np

from poisoncli.core.data import Array, Data, Params, Task
from poisoncli.core.method import method
from poisoncli.training.layers import forward, zeros

_ITERATIONS = 10_000  # at most; its default of 100 may end before its tolerance is reached


@method
class Logistic:
    """Logistic regression, m x 1, initialized with zeros (HLP V-A).

    For k > 2 classes softmax regression, m x k.
    """

    linear_first: ClassVar[bool] = True
    convex: ClassVar[bool] = True
    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")
    attacks: ClassVar[tuple[str, ...]] = ("rmd",)

    def init(self, key: Array, m: int, outputs: int = 1) -> Params:
        return zeros(m, outputs)

    def output(self, params: Params, h: Array) -> Array:
        return forward(params, h, 0.0)

    def solve(self, rows: Data, lambda_: float, outputs: int = 1) -> Params | None:
        """See `Solvable.solve`; by scikit-learn's L-BFGS, which stops where it stops for its users.

        That tells where there is no penalty and classes, or those of a rare category, separate: the infimum is not
        attained then, and a solver that goes on makes weights that grow and grow.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        x, y, weight = (np.asarray(leaf, float) for leaf in rows)
        if len(np.unique(y[weight > 0])) < max(outputs, 2):
            return None
        strength = 1 / (lambda_ * weight.sum()) if lambda_ > 0 else np.inf
        solver = LogisticRegression(C=strength, max_iter=_ITERATIONS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            solver.fit(x, y, sample_weight=weight)
        return [{"w": solver.coef_, "b": solver.intercept_}]
