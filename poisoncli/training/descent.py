"""The victim's training: gradient descent on the mean loss plus the penalty, on all rows or in mini-batches."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

from poisoncli.core.data import Array, Params
from poisoncli.core.victim import Objective, Rows, Trainer
from poisoncli.training.layout import products, pull_back
from poisoncli.training.trainers import batches_of, steps_of


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

    Mini-batches follow one fixed random order.
    """
    n = rows.y.shape[-1]
    batches = batches_of(trainer, n)
    if batches == 1:
        return rows
    batch = np.random.default_rng(0).permutation(n) // trainer.size
    inside = jnp.where(jnp.asarray(batch) == t % batches, rows.weight, jnp.zeros_like(rows.weight))
    return rows._replace(weight=jnp.where(jnp.sum(inside) > 0, inside, rows.weight))


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
