"""Linear classifiers trained to the optimum: support vector machine and logistic regression (KSL section 5.2)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from poisoncli.core.data import Array, Params, Task
from poisoncli.core.errors import PoisonError
from poisoncli.core.method import method, option
from poisoncli.training.layers import forward, zeros
from poisoncli.training.linear import BIASES, LOSSES, descend, fit


@method
class SVM:
    """Linear support vector machine, trained by liblinear to the optimum of mean loss + lambda/2 |w|^2.

    It needs --lambda and no trainer; features may be sparse.

    loss: `hinge`, or `logistic` for a logistic regression at its optimum.
    bias: `free` of the penalty, or `penalized` like a weight: liblinear's default and the code of KSL's authors.
    passes: of stochastic gradient descent over the rows instead of the optimum; 0 means the optimum (KSL 6.3).
    draws: random orders of the rows that the errors of `passes` are averaged over.
    """

    penalties: ClassVar[tuple[str, ...]] = ("l2",)
    linear_first: ClassVar[bool] = True
    tasks: ClassVar[tuple[Task, ...]] = ("binary",)
    sparse: ClassVar[bool] = True
    attacks: ClassVar[tuple[str, ...]] = ("kkt",)

    loss: str = option("hinge", choices=LOSSES)
    bias: str = option("free", choices=BIASES)
    passes: int = option(0, low=0, high=10_000)
    draws: int = option(10, low=1, high=1000)

    def init(self, key: Array, m: int, outputs: int = 1) -> Params:
        return zeros(m, outputs)

    def output(self, params: Params, h: Array) -> Array:
        return forward(params, h, 0.0)

    def optimum(self, x: Array, y: Array, lambda_: float) -> Params:
        """See `Exact.optimum`; with `passes` in one fixed order. Raises `PoisonError` without a penalty."""
        return self._trained(x, y, lambda_, 0)

    def draws_of(self, x: Array, y: Array, lambda_: float, seed: int) -> list[Params]:
        """See `Drawn.draws_of`."""
        seeds = np.random.SeedSequence(seed).generate_state(self.draws if self.passes else 1)
        return [self._trained(x, y, lambda_, int(one)) for one in seeds]

    def _trained(self, x: Array, y: Array, lambda_: float, seed: int) -> Params:
        if not lambda_ > 0:
            raise PoisonError("model svm needs a penalty above 0: craft with --lambda VALUE, such as 0.01")
        signs = 2.0 * np.asarray(y) - 1
        if self.passes:
            theta = descend(x, signs, lambda_, self.loss, self.passes, self.bias, seed)
        else:
            theta = fit(x, signs, lambda_, self.loss, self.bias)
        return [{"w": theta.w[None], "b": np.array([theta.b])}]
