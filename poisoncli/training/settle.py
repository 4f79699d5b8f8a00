"""How fast and how long to train on rows that no paper has settings for."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.core.data import Array, Data, Params
from poisoncli.core.victim import Objective, Rows, Trainer
from poisoncli.training.descent import gradient, update
from poisoncli.training.layout import lay_out, seen_by

SETTLED = 0.01  # fall of the training loss in the last half of the training, as a share of the loss at its start
AT_OPTIMUM = 1e-4  # the same where the loss is convex, and is taken to its optimum
LONGEST, LONGEST_CONVEX = 1000, 2000  # epochs that are tried
_CHUNK = 20  # epochs between two looks at the loss
_PRODUCTS = 40  # Hessian-vector products of the power iteration
_HALVINGS = 8


class Settled(NamedTuple):
    """A trainer that settles on its rows, and how far it came.

    loss: the training loss at the end; fall: by how much it fell in the last half, as a share of the loss at the
    start; `settled` says whether that is little enough. steps: epochs after which the loss had settled to a
    hundredth, which is near enough for an attacker who differentiates through them.
    """

    trainer: Trainer
    loss: float
    fall: float
    steps: int

    @property
    def settled(self) -> bool:
        return self.fall <= SETTLED

    @property
    def at_optimum(self) -> bool:
        """Of a convex loss: without a penalty it may have none, or be slow to reach it."""
        return self.fall <= AT_OPTIMUM


def settle(
    key: Array, objective: Objective, trainer: Trainer, train: Data, log_lambda: Array, convex: bool = False
) -> Settled:
    """`trainer` with its rate and epochs found where they are 0: both from the clean rows `train` [n, m].

    The rate is the trainer's for the objective's curvature at the initial parameters, and half of that again as
    long as the loss does not fall. The epochs are the fewest, in steps of 20 and at most 1,000, after which the
    loss has settled, all rows in every step; if the loss is `convex`, at most 2,000, after which it is at its
    optimum to a ten-thousandth of its start, or as near as that many come.
    """
    within, longest = (AT_OPTIMUM, LONGEST_CONVEX) if convex else (SETTLED, LONGEST)
    rows = lay_out(Data(*(jnp.asarray(leaf) for leaf in train)))
    start = objective.init(key, train.x.shape[1], rows.y.dtype)
    log_lambda = jnp.asarray(log_lambda, rows.y.dtype)
    rate = trainer.rate or trainer.rate_for(float(curvature(key, objective, start, log_lambda, rows)))
    most, losses = trainer.epochs or longest, np.full(2, np.nan)
    for _ in range(_HALVINGS):
        tried = dataclasses.replace(trainer, rate=rate, epochs=most)  # type: ignore[type-var]
        losses = _losses(objective, tried, start, log_lambda, rows, 0.0 if trainer.epochs else within)
        if trainer.rate or _falls(losses):
            break
        rate /= 2
    epochs = trainer.epochs or _CHUNK * (len(losses) - 1)
    fall = float((losses[(len(losses) - 1) // 2] - losses[-1]) / losses[0])
    steps = trainer.epochs or _CHUNK * next(
        (last for last in range(len(losses)) if _has_settled(losses[: last + 1], SETTLED)), len(losses) - 1
    )
    return Settled(dataclasses.replace(trainer, rate=rate, epochs=epochs), float(losses[-1]), fall, steps)  # type: ignore[type-var]


def _falls(losses: np.ndarray) -> bool:
    """Whether a training goes down as it should: at its end, and in its last half."""
    half = losses[(len(losses) - 1) // 2]
    return bool(np.all(np.isfinite(losses)) and losses[-1] < losses[0] and losses[-1] <= half * (1 + SETTLED))


def _losses(
    objective: Objective, trainer: Trainer, start: Params, log_lambda: Array, rows: Rows, within: float
) -> np.ndarray:
    """The objective before the training and after every 20 epochs, until it has settled `within` a share > 0."""
    state = (start, trainer.optimizer(trainer.epochs).init(start))
    losses = []
    for first in range(0, trainer.epochs + 1, _CHUNK):
        state, loss = _chunk(objective, trainer, state, log_lambda, rows, jnp.asarray(first))
        losses.append(float(loss))
        if not np.isfinite(losses[-1]) or (within and _has_settled(losses, within)):
            break
    return np.array(losses)


def _has_settled(losses: Sequence[float] | np.ndarray, within: float) -> bool:
    """Whether the last half of a training of some length took off no more than a share `within` of its start."""
    return len(losses) > 7 and losses[(len(losses) - 1) // 2] - losses[-1] <= within * losses[0]


@functools.partial(jax.jit)
def _chunk(
    objective: Objective, trainer: Trainer, state: tuple, log_lambda: Array, rows: Rows, first: Array
) -> tuple[tuple, Array]:
    """Some epochs from `state` on, with all rows in every step; and the objective before them."""

    def step(state: tuple, _: Array) -> tuple[tuple, None]:
        grads, _h = gradient(objective, state[0], log_lambda, rows)
        return update(trainer, state, grads, trainer.epochs), None

    params = state[0]
    before = objective.value(params, seen_by(objective.model, params, rows), log_lambda, rows)
    return jax.lax.scan(step, state, first + jnp.arange(_CHUNK))[0], before


@jax.jit
def curvature(key: Array, objective: Objective, params: Params, log_lambda: Array, rows: Rows) -> Array:
    """The largest eigenvalue of the objective's Hessian at `params`, by power iteration."""

    def slope(at: Params) -> Params:
        return gradient(objective, at, log_lambda, rows)[0]

    def unit(tree: Params) -> Params:
        size = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))
        return jax.tree.map(lambda leaf: leaf / jnp.maximum(size, jnp.finfo(leaf.dtype).tiny), tree)

    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    draws = [jax.random.normal(one, leaf.shape, leaf.dtype) for one, leaf in zip(keys, leaves, strict=True)]

    def body(v: Params, _: None) -> tuple[Params, Array]:
        image = jax.jvp(slope, (params,), (v,))[1]
        products = jax.tree.map(lambda a, b: jnp.sum(a * b), v, image)
        return unit(image), sum(jax.tree.leaves(products))

    _, found = jax.lax.scan(body, unit(jax.tree.unflatten(tree, draws)), None, _PRODUCTS)
    return jnp.maximum(found[-1], jnp.finfo(found.dtype).tiny)
