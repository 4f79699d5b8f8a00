"""The victim's training: gradient descent on the mean loss plus the penalty, on all rows or in mini-batches.

The training rows are laid out for speed. Each block of rows is kept twice, as `x` and as its transpose:
products with the rows' gradient then read memory in order (4 times as fast on a CPU as `x.T @ d`), and
columns that are zero in all rows of a block are left out, which changes no result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from poisoncli.core.losses import penalty, weighted_mean
from poisoncli.core.types import Array, Data, Model, Params, method, option


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
    """What the learner minimizes: mean row loss + sum over layers of e^log_lambda / n * Omega(w).

    n is the number of rows kept (the sum of the weights): see `penalty` for Omega, and README for the scale.
    outer: what is looked at on other rows than those of the training; None for the row loss.
    """

    model: Model
    loss: Callable[[Array, Array], Array] = dataclasses.field(metadata={"static": True})
    reg: str = dataclasses.field(metadata={"static": True})
    outer: Callable[[Array, Array], Array] | None = dataclasses.field(default=None, metadata={"static": True})

    def value(self, params: Params, h: Array, log_lambda: Array, rows: Rows) -> Array:
        """The objective as a function of the parameters and the first layer's products h [n, width]."""
        mean = weighted_mean(self.loss(self.model.output(params, h), rows.y), rows.weight)
        if self.reg == "none":
            return mean
        scale = jnp.exp(log_lambda) / jnp.sum(rows.weight)
        return mean + jnp.sum(scale * penalty(params, self.reg))

    def clean_loss(self, params: Params, data: Data) -> Array:
        """Mean of the outer row loss on `data`, without the penalty: what attacker and learner look at."""
        output = self.model.output(params, data.x @ params[0]["w"].T)
        return weighted_mean((self.outer or self.loss)(output, data.y), data.weight)


SCHEDULES = ("constant", "linear", "cosine")


@method
class SGD:
    """Gradient descent, with all rows in every step (HLP V-A) or with mini-batches (RCH Table 3).

    rate: step size, in (0, 1].
    epochs: passes over the rows, at least 1.
    size: rows of a mini-batch, in one fixed random order; 0 means all rows, one step a pass.
    schedule: the step size stays `constant`, or falls to zero on a `linear` or a `cosine` way.
    """

    rate: float = option(0.1, above=0, high=1)
    epochs: int = option(140, low=1)
    size: int = option(default=0, low=0)
    schedule: str = option(default="constant", choices=SCHEDULES)

    def optimizer(self, steps: int) -> optax.GradientTransformation:
        return optax.sgd(_scheduled(self, steps))


@method
class Momentum:
    """Gradient descent with heavy-ball momentum (Polyak 1964).

    rate: step size, in (0, 1].
    momentum: share of the last step that is kept, in [0, 1].
    epochs, size, schedule: as for `sgd`.
    """

    rate: float = option(0.1, above=0, high=1)
    momentum: float = option(0.9, low=0, high=1)
    epochs: int = option(140, low=1)
    size: int = option(default=0, low=0)
    schedule: str = option(default="constant", choices=SCHEDULES)

    def optimizer(self, steps: int) -> optax.GradientTransformation:
        return optax.sgd(_scheduled(self, steps), momentum=self.momentum)


@method
class Adam:
    """Adam (Kingma and Ba 2015), with its usual decay rates; smooth where a gradient is zero.

    rate: step size, in (0, 1].
    epochs, size, schedule: as for `sgd`.
    """

    rate: float = option(0.01, above=0, high=1)
    epochs: int = option(140, low=1)
    size: int = option(default=0, low=0)
    schedule: str = option(default="constant", choices=SCHEDULES)

    def optimizer(self, steps: int) -> optax.GradientTransformation:
        return optax.adam(_scheduled(self, steps), eps_root=1e-12)  # else the root has no derivative at zero


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

    def optimizer(self, steps: int) -> optax.GradientTransformation:
        """The Optax transformation of a step, for a training of so many steps."""
        ...


def _scheduled(trainer: Trainer, steps: int) -> Array | Callable[[Array], Array]:
    """The step size, or as a function of the number of the step where it falls."""
    if trainer.schedule == "linear":
        return lambda t: trainer.rate * (1 - jnp.asarray(t, jnp.result_type(trainer.rate)) / steps)
    if trainer.schedule == "cosine":
        angle = np.pi / steps
        return lambda t: trainer.rate * 0.5 * (1 + jnp.cos(angle * jnp.asarray(t, jnp.result_type(trainer.rate))))
    return trainer.rate


def steps_of(trainer: Trainer, n: int) -> int:
    """Number of steps of a training on n rows."""
    return trainer.epochs * _batches(trainer, n)


def _batches(trainer: Trainer, n: int) -> int:
    return -(-n // trainer.size) if trainer.size else 1


def lay_out(data: Data) -> Rows:
    """`data` as one dense block."""
    x = jnp.asarray(data.x)
    return Rows((Block(x, jnp.swapaxes(x, -1, -2), None),), jnp.asarray(data.y), jnp.asarray(data.weight))


def compress(x: np.ndarray) -> Block:
    """Rows x [..., n, m] that will not change as a block without the columns that are zero in all of them."""
    used = np.flatnonzero(np.any(x != 0, axis=tuple(range(x.ndim - 1))))
    if used.size > 0.9 * x.shape[-1]:  # a gather costs more than it saves
        return Block(jnp.asarray(x), jnp.asarray(np.swapaxes(x, -1, -2)), None)
    kept = x[..., used]
    return Block(jnp.asarray(kept), jnp.asarray(np.swapaxes(kept, -1, -2)), jnp.asarray(used))


def products(weight: Array, rows: Rows) -> Array:
    """x @ weight.T over all rows, [n, width], for a first layer's `weight` [width, m]."""
    parts = [block.x @ (weight if block.columns is None else weight[:, block.columns]).T for block in rows.blocks]
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts)


def pull_back(d: Array, rows: Rows, m: int) -> Array:
    """d.T @ x over all rows, [width, m], for d [n, width]: the transpose of `products`."""
    start, total = 0, jnp.zeros((d.shape[1], m), d.dtype)
    for block in rows.blocks:
        n = block.x.shape[0]
        part = block.xt @ d[start : start + n]
        part = jax.lax.optimization_barrier(part).T  # else XLA makes it d.T @ xt.T, which is slower
        if block.columns is None:
            total = total + part
        else:
            total = total.at[:, block.columns].add(part, indices_are_sorted=True, unique_indices=True)
        start += n
    return total


def free_rows(rows: Rows, free: int) -> Array:
    """The free rows [free, m]: the last ones of the last block."""
    return rows.blocks[-1].x[-free:]


def replace_free(rows: Rows, x: Array) -> Rows:
    """`rows` with the free rows replaced by x [free, m]; in place where the compiler owns the buffers."""
    last = rows.blocks[-1]
    start = last.x.shape[0] - x.shape[0]
    moved = Block(
        jax.lax.dynamic_update_slice(last.x, x, (start, 0)),
        jax.lax.dynamic_update_slice(last.xt, x.T, (0, start)),
        last.columns,
    )
    return rows._replace(blocks=(*rows.blocks[:-1], moved))


def add_to_first(params: Params, weight: Array) -> Params:
    """`params` with `weight` added to the first layer's weights."""
    return [{**params[0], "w": params[0]["w"] + weight}, *params[1:]]


def gradient(objective: Objective, params: Params, log_lambda: Array, rows: Rows) -> tuple[Params, Array]:
    """Gradient of the objective, and the first layer's products [n, width] that it was computed from."""
    h = products(params[0]["w"], rows)
    direct, d = jax.grad(objective.value, argnums=(0, 1))(params, h, log_lambda, rows)
    return add_to_first(direct, pull_back(d, rows, params[0]["w"].shape[1])), h


def part_of(rows: Rows, trainer: Trainer, t: Array) -> Rows:
    """`rows` as step t of the training sees them: those outside its mini-batch have weight 0.

    The weights keep their sum, which the penalty is divided by. Mini-batches follow one fixed random order.
    """
    n = rows.y.shape[-1]
    batches = _batches(trainer, n)
    if batches == 1:
        return rows
    batch = np.random.default_rng(0).permutation(n) // trainer.size
    inside = jnp.where(jnp.asarray(batch) == t % batches, rows.weight, jnp.zeros_like(rows.weight))
    kept = jnp.sum(inside)
    scale = jnp.sum(rows.weight) / jnp.where(kept > 0, kept, jnp.ones_like(kept))
    return rows._replace(weight=jnp.where(kept > 0, inside * scale, rows.weight))


def update(trainer: Trainer, state: tuple, grads: Params, steps: int) -> tuple:
    """One of `steps` optimizer steps on (parameters, optimizer state)."""
    params, inner = state
    change, inner = trainer.optimizer(steps).update(grads, inner, params)
    return optax.apply_updates(params, change), inner


def fit(objective: Objective, trainer: Trainer, params: Params, log_lambda: Array, rows: Rows) -> Params:
    """Parameters after `trainer.epochs` passes from `params`; log_lambda is [1] or [layers]."""
    steps = steps_of(trainer, rows.y.shape[-1])

    def step(state: tuple, t: Array) -> tuple[tuple, None]:
        grads, _h = gradient(objective, state[0], log_lambda, part_of(rows, trainer, t))
        return update(trainer, state, grads, steps), None

    start = (params, trainer.optimizer(steps).init(params))
    return jax.lax.scan(step, start, jnp.arange(steps))[0][0]
