"""lambda_CLEAN: the penalty that k-fold cross-validation on clean rows selects (HLP V-B)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.core.data import Array, Data
from poisoncli.core.victim import Objective, Trainer, predict
from poisoncli.training.descent import fit
from poisoncli.training.layout import lay_out

FOLDS = 5


def grid(n: int) -> np.ndarray:
    """Values of log_lambda to try: from -8, no penalty, to log(n), lambda = 1, about half apart."""
    return np.linspace(-8.0, np.log(n), 2 * int(np.log(n) + 8) + 1)


@functools.partial(jax.jit, static_argnames="folds")
def held_out_loss(
    key: Array, objective: Objective, trainer: Trainer, train: Data, log_lambda: Array, folds: int = FOLDS
) -> Array:
    """Mean loss [g] on held-out rows for each log_lambda [g], over `folds` folds drawn by `key`.

    train: clean rows [n, m]. All folds and values are trained at once on the same rows.
    """
    n = train.y.shape[0]
    first, second = jax.random.split(key)
    fold = jax.random.permutation(first, jnp.arange(n) % folds)
    start = objective.init(second, train.x.shape[1], train.x.dtype)
    rows = lay_out(train)

    def loss(held_out: Array, value: Array) -> Array:
        weight = train.weight * (fold != held_out)
        params = fit(objective, trainer, start, value[None], rows._replace(weight=weight))
        losses = objective.loss(predict(objective.model, params, train.x), train.y)
        return jnp.sum(losses * (train.weight - weight)) / jnp.sum(train.weight - weight)

    over_grid = jax.vmap(loss, in_axes=(None, 0))
    return jnp.mean(jax.vmap(over_grid, in_axes=(0, None))(jnp.arange(folds), log_lambda), axis=0)


def best_log_lambda(key: Array, objective: Objective, trainer: Trainer, train: Data) -> float:
    """The log_lambda of `grid` with the least held-out loss on the clean rows `train` [n, m]."""
    values = grid(train.y.shape[0])
    losses = held_out_loss(key, objective, trainer, train, jnp.asarray(values, train.x.dtype))
    return float(values[int(np.argmin(np.asarray(losses)))])
