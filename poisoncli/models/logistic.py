"""Logistic regression (HLP V-A): parameters start at zero."""

from __future__ import annotations

from typing import ClassVar

from poisoncli.core.data import Array, Params, Task
from poisoncli.core.method import method
from poisoncli.training.layers import forward, zeros


@method
class Logistic:
    """Logistic regression, m x 1, initialized with zeros (HLP V-A)."""

    tasks: ClassVar[tuple[Task, ...]] = ("binary",)
    attacks: ClassVar[tuple[str, ...]] = ("rmd",)

    def init(self, key: Array, m: int) -> Params:
        return zeros(m)

    def output(self, params: Params, h: Array) -> Array:
        return forward(params, h, 0.0)
