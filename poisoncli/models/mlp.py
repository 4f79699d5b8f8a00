"""Feed-forward network with leaky ReLU (HLP V-A and V-C)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from poisoncli.core.data import Array, Params, Task
from poisoncli.core.declared import as_tabled
from poisoncli.core.method import method, option
from poisoncli.training.layers import forward, xavier_uniform


@method
class MLP:
    """Feed-forward network, m x hidden x 1 (x k for k > 2 classes), leaky ReLU, Xavier uniform weights (HLP V-A).

    hidden: widths of the hidden layers, each at least 1.
    leak: slope of the activation for negative inputs, in [0, 1).
    bias: initial value of every bias.
    """

    linear_first: ClassVar[bool] = True
    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass", "real")
    attacks: ClassVar[tuple[str, ...]] = ("rmd", "stealthy")
    tuned: ClassVar[tuple[str, ...]] = ("hidden",)
    settings: ClassVar[Mapping[str, Any]] = as_tabled(140, 0.1, 0.1, 300)

    hidden: tuple[int, ...] = option((32, 8), low=1)
    leak: float = option(0.01, low=0, high=1)
    bias: float = 0.01

    def init(self, key: Array, m: int, outputs: int = 1) -> Params:
        return xavier_uniform(key, (m, *self.hidden, outputs), self.bias)

    def output(self, params: Params, h: Array) -> Array:
        return forward(params, h, self.leak)
