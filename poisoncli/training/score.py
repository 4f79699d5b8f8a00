"""What a trained victim is worth."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.core.data import Array, Data, Params
from poisoncli.core.victim import Objective, Trainer, as_layers, predict
from poisoncli.training.descent import fit
from poisoncli.training.layout import lay_out


class Score(NamedTuple):
    """Scores of a victim; see `run_file.Evaluation`. Arrays have a leading repetition axis."""

    test_error: Array
    val_error: Array
    test_loss: Array
    val_loss: Array
    norm: Array
    params: Params
    draw_spread: Array = np.empty(0, np.float32)


@functools.partial(jax.jit, static_argnames="error")
def train_and_score(
    keys: Array,
    objective: Objective,
    trainer: Trainer,
    train: Data,
    log_lambda: Array,
    val: Data,
    test: Data,
    *,
    error: Callable[[Array, Array, Array], Array],
) -> Score:
    """Train the victim on `train` with log_lambda [repetitions, h], and score it; see `run_file.Evaluation`.

    keys: one for each repetition, for the initial parameters; error: of outputs, targets, weights, for the task.
    """

    def one(key: Array, train: Data, log_lambda: Array, val: Data, test: Data) -> Score:
        start = objective.init(key, train.x.shape[1], train.x.dtype)
        params = fit(objective, trainer, start, log_lambda, lay_out(train))
        return _score(objective, params, val, test, error)

    return jax.vmap(one)(keys, train, log_lambda, val, test)


@functools.partial(jax.jit, static_argnames="error")
def score_params(
    objective: Objective, params: Params, val: Data, test: Data, *, error: Callable[[Array, Array, Array], Array]
) -> Score:
    """Score trained parameters, as `train_and_score` does; all with a leading repetition axis."""

    def one(params: Params, val: Data, test: Data) -> Score:
        return _score(objective, params, val, test, error)

    return jax.vmap(one)(params, val, test)


def _score(objective: Objective, params: Params, val: Data, test: Data, error: Callable[..., Array]) -> Score:
    return Score(
        test_error=_error(error, objective, params, test),
        val_error=_error(error, objective, params, val),
        test_loss=objective.clean_loss(params, test),
        val_loss=objective.clean_loss(params, val),
        norm=jnp.stack([mean_square(layer) for layer in as_layers(params)]),
        params=as_layers(params),
    )


def _error(error: Callable[..., Array], objective: Objective, params: Params, data: Data) -> Array:
    return error(predict(objective.model, params, data.x), data.y, data.weight)


def mean_square(layer: dict[str, Array]) -> Array:
    """Squared L2 norm over the number of parameters, biases included (HLP Fig. 3 and 13)."""
    leaves = jax.tree.leaves(layer)
    return sum(jnp.sum(leaf**2) for leaf in leaves) / sum(leaf.size for leaf in leaves)
