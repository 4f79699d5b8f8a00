"""Logistic regression (HLP V-A), of two classes or more: parameters start at zero."""

from __future__ import annotations

from typing import ClassVar

from poisoncli.core.data import Array, Params, Task
from poisoncli.core.method import method
from poisoncli.training.layers import forward, zeros


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
