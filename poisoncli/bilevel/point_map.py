"""What a single training row does to the victim, as a function of where it lies (HLP Fig. 1)."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from poisoncli.core.data import Array, Data
from poisoncli.core.victim import Objective, Trainer, predict
from poisoncli.training.descent import fit
from poisoncli.training.layout import lay_out, replace_free

TOGETHER = 128  # positions that are trained at once


@functools.partial(jax.jit, static_argnames="error")
def scores(
    key: Array,
    objective: Objective,
    trainer: Trainer,
    train: Data,
    val: Data,
    positions: Array,
    log_lambda: Array,
    *,
    error: Callable[[Array, Array, Array], Array],
) -> tuple[Array, Array]:
    """Loss and error on `val`, both [p, g], after training with the last row of `train` moved to each position.

    train: [n, m]; positions: [p, m]; log_lambda: values to train with at every position [g], -inf for no penalty.
    key: for the initial parameters, the same for all; error: of outputs, targets and weights, for the task.
    """
    start = objective.init(key, train.x.shape[1], train.x.dtype)
    rows = lay_out(train)

    def one(position: Array, value: Array) -> tuple[Array, Array]:
        params = fit(objective, trainer, start, value[None], replace_free(rows, position[None]))
        output = predict(objective.model, params, val.x)
        return objective.clean_loss(params, val), error(output, val.y, val.weight)

    over = jax.vmap(one, in_axes=(None, 0))
    return jax.lax.map(lambda position: over(position, log_lambda), positions, batch_size=TOGETHER)


def best(log_lambda: Array, loss: Array) -> Array:
    """The log_lambda [p] of the least loss [p, g] at each position, of equal ones the largest."""
    order = jnp.argsort(-log_lambda)
    return log_lambda[order][jnp.argmin(loss[:, order], axis=1)]
