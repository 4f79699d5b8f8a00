"""The victim: what a model is, what its learner minimizes, on which rows, and by which steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax

from poisoncli.core.data import Array, Data, Params
from poisoncli.core.losses import penalty, weighted_mean


class Model(Protocol):
    """Parameters are any PyTree; arrays of two axes or more are weights, which a penalty counts, others are free.

    A model whose first layer is linear may say so by `linear_first = True`: its parameters are then a list of
    layers {"w": [out, in], "b": [out]}, `output` takes the first one's products h = x @ w.T in the place of x, and
    its rows are laid out for speed. What else it can declare of itself: `declared.OfModel`.
    """

    def init(self, key: Array, m: int, outputs: int = 1) -> Params:
        """Initial parameters for `m` features, and for so many outputs of a row; see `Objective.outputs`."""
        ...

    def output(self, params: Params, h: Array) -> Array:
        """Logits or predictions [n], or logits [n, classes], of rows x [n, m] or h [n, width], each by itself."""
        ...


def is_linear_first(model: Model) -> bool:
    """Whether `output` takes the first layer's products; see `Model`."""
    return bool(getattr(model, "linear_first", False))


def predict(model: Model, params: Params, x: Array) -> Array:
    """Outputs [n], or [n, classes], of `model` for features x [n, m]."""
    return model.output(params, x @ params[0]["w"].T if is_linear_first(model) else x)


def as_layers(params: Params) -> list[dict[str, Array]]:
    """Parameters as a list of layers, arrays by name; each array of another PyTree is one, named by its path."""
    if isinstance(params, list) and all(isinstance(layer, dict) for layer in params):
        return params
    return [{jax.tree_util.keystr(path): leaf} for path, leaf in jax.tree_util.tree_leaves_with_path(params)]


@runtime_checkable
class Exact(Protocol):
    """A linear model trained to the optimum of its objective instead of by the trainer."""

    @property
    def loss(self) -> str: ...

    @property
    def bias(self) -> str: ...

    def optimum(self, x: Array, y: Array, lambda_: float) -> Params:
        """The parameters for rows x [n, m], dense or CSR, with targets y [n] in {0, 1}."""
        ...


@runtime_checkable
class Solvable(Protocol):
    """A convex model that the trainer trains, and whose optimum can be found as well; see `Run.at_optimum`."""

    def solve(self, rows: Data, lambda_: float, outputs: int = 1) -> Params | None:
        """argmin of the mean row loss of `rows` (x [n, m], weights) + lambda / 2 |w|^2; outputs: see `Model.init`.

        None where there is none that can be found, such as where a class has no rows.
        """
        ...


@runtime_checkable
class Drawn(Protocol):
    """An `Exact` model whose training may depend on chance, such as on the order of the rows."""

    def draws_of(self, x: Array, y: Array, lambda_: float, seed: int) -> list[Params]:
        """The parameters of independent trainings, see `Exact.optimum`; one where chance has no part."""
        ...


class Block(NamedTuple):
    """Some training rows: x [n, a], its transpose xt [a, n], and the columns [a] kept (None: all)."""

    x: Array
    xt: Array
    columns: Array | None


class Rows(NamedTuple):
    """Training rows in blocks, in order; targets y [n] and weights [n] of all of them."""

    blocks: tuple[Block, ...]
    y: Array
    weight: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Objective:
    """What the learner minimizes: mean row loss + sum over layers of e^log_lambda / n_train * Omega(w).

    The mean is over the rows kept, and the coefficient is the same whichever are: see `penalty` for Omega, and
    README for the scale.
    n_train: training rows of the run, of which log_lambda speaks.
    reg: `none`, `l2`, `l1`, or `mixed`: with this share of `l1`.
    outer: what is looked at on other rows than those of the training; None for the row loss.
    outputs: of the model for a row: 1 (a logit of two classes, or a real number), or one for each of more classes.
    """

    model: Model
    loss: Callable[[Array, Array], Array] = dataclasses.field(metadata={"static": True})
    reg: str = dataclasses.field(metadata={"static": True})
    n_train: float
    outer: Callable[[Array, Array], Array] | None = dataclasses.field(default=None, metadata={"static": True})
    outputs: int = dataclasses.field(default=1, metadata={"static": True})
    l1: float | Array = 0.0

    def init(self, key: Array, m: int, dtype: Any = None) -> Params:
        """Initial parameters for rows of `m` features; floats of type `dtype` where one is given."""
        start = self.model.init(key, m, self.outputs)
        return start if dtype is None else jax.tree.map(lambda leaf: leaf.astype(dtype), start)

    def from_layers(self, layers: Params, m: int) -> Params:
        """The inverse of `as_layers`; leaves may have leading axes."""
        found = jax.eval_shape(lambda: self.init(jax.random.key(0), m))
        return jax.tree.unflatten(jax.tree.structure(found), jax.tree.leaves(layers))

    def value(self, params: Params, h: Array, log_lambda: Array, rows: Rows) -> Array:
        """The objective as a function of the parameters and what the model takes of the rows, x or h."""
        return self.of_outputs(self.model.output(params, h), params, log_lambda, rows)

    def of_outputs(self, output: Array, params: Params, log_lambda: Array, rows: Rows) -> Array:
        """`value` of parameters that give this output for the rows."""
        mean = weighted_mean(self.loss(output, rows.y), rows.weight)
        if self.reg == "none":
            return mean
        return mean + self.penalty_of(params, log_lambda)

    def penalty_of(self, params: Params, log_lambda: Array) -> Array:
        """What the objective adds to the mean row loss."""
        if self.reg == "mixed":
            omega = self.l1 * penalty(params, "l1") + (1 - self.l1) * penalty(params, "l2")
        else:
            omega = penalty(params, self.reg)
        return jnp.sum(jnp.exp(log_lambda) / self.n_train * omega)

    def clean_loss(self, params: Params, data: Data) -> Array:
        """Mean of the outer row loss on `data`, without the penalty: what attacker and learner look at."""
        output = predict(self.model, params, data.x)
        return weighted_mean((self.outer or self.loss)(output, data.y), data.weight)


class Trainer(Protocol):
    """How the victim is trained: `epochs` passes over the rows, `size` rows a step (0: all); `rate`: step size."""

    @property
    def rate(self) -> float: ...

    @property
    def epochs(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def schedule(self) -> str: ...

    def rate_for(self, curvature: float) -> float:
        """A step size for an objective whose Hessian has this largest eigenvalue."""
        ...

    def optimizer(self, steps: int) -> optax.GradientTransformation:
        """The Optax transformation of a step, for a training of so many steps."""
        ...
