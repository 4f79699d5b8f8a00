"""Linear regression (SPR III): parameters start at zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from poisoncli.core.data import Array, Params, Task
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
