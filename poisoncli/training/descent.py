"""The victim's training: gradient descent on the mean loss plus the penalty, on all rows or in mini-batches."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from poisoncli.core.data import Array, Params
from poisoncli.core.victim import Objective, Rows, Trainer, is_linear_first
from poisoncli.training.layout import merged, pull_back, seen_by
from poisoncli.training.minibatches import rows_of_step
from poisoncli.training.trainers import steps_of


def add_to_first(params: Params, weight: Array) -> Params:
    """`params` with `weight` added to the first layer's weights."""
    return [{**params[0], "w": params[0]["w"] + weight}, *params[1:]]


def gradient(objective: Objective, params: Params, log_lambda: Array, rows: Rows) -> tuple[Params, Array]:
    """Gradient of the objective, and what the model took of the rows, see `layout.seen_by`."""
    h = seen_by(objective.model, params, rows)
    if not is_linear_first(objective.model):
        return jax.grad(objective.value)(params, h, log_lambda, rows), h
    direct, d = jax.grad(objective.value, argnums=(0, 1))(params, h, log_lambda, rows)
    return add_to_first(direct, pull_back(d, rows, params[0]["w"].shape[1])), h


def step_gradient(
    objective: Objective, params: Params, log_lambda: Array, rows: Rows, trainer: Trainer
) -> tuple[Params, Array]:
    """`gradient` for the rows of a step of `trainer`; zero for a mini-batch all of whose rows have weight 0."""
    if not trainer.size:
        return gradient(objective, params, log_lambda, rows)
    safe, seen = with_some_weight(rows)
    grads, h = gradient(objective, params, log_lambda, safe)
    return jax.tree.map(lambda leaf: jnp.where(seen, leaf, jnp.zeros_like(leaf)), grads), h


def with_some_weight(rows: Rows) -> tuple[Rows, Array]:
    """`rows` with weights that can be divided by, and whether they are its own: some row has weight."""
    seen = jnp.any(rows.weight > 0)
    return rows._replace(weight=jnp.where(seen, rows.weight, jnp.ones_like(rows.weight))), seen


def update(trainer: Trainer, state: tuple, grads: Params, steps: int) -> tuple:
    """One of `steps` optimizer steps on (parameters, optimizer state)."""
    params, inner = state
    change, inner = trainer.optimizer(steps).update(grads, inner, params)
    return optax.apply_updates(params, change), inner


def fit(objective: Objective, trainer: Trainer, params: Params, log_lambda: Array, rows: Rows) -> Params:
    """Parameters after `trainer.epochs` passes from `params`; log_lambda is [1] or [layers]."""
    rows = rows if is_linear_first(objective.model) else merged(rows)
    steps, seen_at = steps_of(trainer, rows.y.shape[-1]), rows_of_step(rows, trainer)

    def step(state: tuple, t: Array) -> tuple[tuple, None]:
        grads, _h = step_gradient(objective, state[0], log_lambda, seen_at(t), trainer)
        return update(trainer, state, grads, steps), None

    start = (params, trainer.optimizer(steps).init(params))
    return jax.lax.scan(step, start, jnp.arange(steps))[0][0]
