"""Linear classifiers of several classes at their optimum (Crammer and Singer 2002; KSL 5.7 and Appendix B.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from poisoncli.core.data import Array, Params, Task
from poisoncli.core.errors import PoisonError
from poisoncli.core.method import method, option
from poisoncli.training.layers import zeros
from poisoncli.training.linear import LOSSES
from poisoncli.training.multiclass import descend, fit, fit_softmax


@method
class MultiSVM:
    """Linear multi-class support vector machine, for two classes or more; features may be sparse.

    Trained by AdaGrad without a penalty, which regularizes by stopping early, or with passes=0 to the optimum of
    mean loss + lambda/2 |w|^2, biases penalized, which needs --lambda.

    loss: `hinge`, or `logistic` for softmax regression at its optimum, which needs passes=0.
    passes: of AdaGrad over the rows; 0 means the optimum.
    rate: step size.
    batch: rows of a step.
    steps: at least so many, in further passes where the data are small.
    """

    linear_first: ClassVar[bool] = True
    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")
    sparse: ClassVar[bool] = True
    attacks: ClassVar[tuple[str, ...]] = ("minmax",)
    penalties: ClassVar[tuple[str, ...]] = ("l2",)
    penalized_with: ClassVar[Mapping[str, Any]] = {"passes": 0}
    settings: ClassVar[Mapping[str, Any]] = {"lambda": None}  # it regularizes by stopping early

    loss: str = option("hinge", choices=LOSSES)
    passes: int = option(3, low=0, high=10_000)
    rate: float = option(0.02, above=0)
    batch: int = option(20, low=1)
    steps: int = option(1000, low=0, high=1_000_000)

    bias: ClassVar[str] = "penalized"

    def init(self, key: Array, m: int, outputs: int = 1) -> Params:
        return zeros(m, max(outputs, 2))

    def output(self, params: Params, h: Array) -> Array:
        """By how much the second class exceeds the first; `training.multiclass` has the outputs of all."""
        h = h + params[0]["b"][None]
        return h[:, 1] - h[:, 0]

    def optimum(self, x: Array, y: Array, lambda_: float) -> Params:
        """See `Exact.optimum`; parameters have a row for each class, w [k, m]."""
        k = int(np.max(y)) + 1
        if self.loss == "logistic" and (self.passes or not lambda_ > 0):
            raise PoisonError(
                "softmax regression is trained to its optimum: give --lambda, such as 0.01, and -o model.passes=0"
            )
        if self.loss == "logistic":
            machine = fit_softmax(x, y, k, lambda_)
        elif self.passes:
            passes = max(self.passes, -(-self.steps // -(-len(y) // self.batch)))
            machine = descend(x, y, k, self.rate, self.batch, passes)
        elif lambda_ > 0:
            machine = fit(x, y, k, lambda_)
        else:
            raise PoisonError("the optimum needs a penalty: give --lambda, or -o model.passes=3")
        return [{"w": machine.w, "b": machine.b}]
