"""Linear regression (SPR III): parameters start at zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from poisoncli.core.data import Array, Data, Params, Task
from poisoncli.core.declared import as_tabled
from poisoncli.core.method import method
from poisoncli.training.layers import forward, zeros


@method
class Linear:
    """Linear regression, m x 1, initialized with zeros (SPR Appendix E); a penalty makes it ridge regression."""

    linear_first: ClassVar[bool] = True
    convex: ClassVar[bool] = True
    tasks: ClassVar[tuple[Task, ...]] = ("real",)
    attacks: ClassVar[tuple[str, ...]] = ("stealthy",)
    settings: ClassVar[Mapping[str, Any]] = as_tabled(100, 0.9, 0.1, 40)

    def init(self, key: Array, m: int, outputs: int = 1) -> Params:
        return zeros(m, outputs)

    def output(self, params: Params, h: Array) -> Array:
        return forward(params, h, 0.0)

    def solve(self, rows: Data, lambda_: float, outputs: int = 1) -> Params | None:
        """See `Solvable.solve`; of several optima that of least norm, as scikit-learn's least squares."""
        from sklearn.linear_model import LinearRegression, Ridge

        x, y, weight = (np.asarray(leaf, float) for leaf in rows)
        solver = Ridge(alpha=lambda_ * weight.sum()) if lambda_ > 0 else LinearRegression()
        solver.fit(x, y, sample_weight=weight)
        return [{"w": solver.coef_[None], "b": np.array([solver.intercept_])}]
