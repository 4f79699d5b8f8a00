"""Projected hypergradient ascent on the free rows, and descent on log_lambda (HLP Algorithm 2)."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from poisoncli.bilevel.hypergradient import BilevelProblem, HypergradientMethod
from poisoncli.bilevel.outer_rules import outer_direction
from poisoncli.core.data import Array, Data
from poisoncli.core.victim import Block, Objective, Rows, Trainer
from poisoncli.training.layout import free_rows, replace_free

NORMALIZE = ("point", "batch", "none")


class Step(NamedTuple):
    """How a hyperiteration moves (HLP eq. 10).

    x_rate: step size alpha of the points; 0 leaves them where they are.
    lambda_rate: step size of log_lambda [settings]; 0 keeps it fixed.
    low, high: domain of the features, scalars or [m].
    log_lambda_min, log_lambda_max: domain of log_lambda.
    """

    x_rate: Array
    lambda_rate: Array
    low: Array
    high: Array
    log_lambda_min: Array
    log_lambda_max: Array


class OuterState(NamedTuple):
    """Where the ascent stands: training rows whose last block ends with the free rows, and log_lambda.

    memory: what the rule for the outer steps remembers, see `outer_rules`; of points and log_lambda in one.
    """

    rows: Rows
    log_lambda: Array
    memory: Array | tuple = ()


def direction(gradient: Array, normalize: str) -> Array:
    """`gradient` [k, m] with each row (`point`) or the whole (`batch`) scaled to L2 norm one, or as it is."""
    tiny = jnp.finfo(gradient.dtype).tiny
    if normalize == "point":
        return gradient / jnp.maximum(jnp.linalg.norm(gradient, axis=-1, keepdims=True), tiny)
    if normalize == "batch":
        return gradient / jnp.maximum(jnp.linalg.norm(gradient), tiny)
    return gradient


def _hyperiteration(
    key: Array,
    objective: Objective,
    trainer: Trainer,
    outer_state: OuterState,
    target: Data,
    step: Step,
    normalize: str,
    free: int,
    method: HypergradientMethod,
    outer: str,
    trusted: Data | None,
    t: Array,
) -> tuple[OuterState, tuple[Array, Array, Array]]:
    rows = outer_state.rows
    x = free_rows(rows, free)
    start = objective.model.init(key, x.shape[1])
    start = jax.tree.map(lambda leaf: leaf.astype(x.dtype), start)
    problem = BilevelProblem(objective, trainer, start, outer_state.log_lambda, rows, target, free, trusted)
    found = method(problem)
    slope, memory = outer_direction(
        outer, jnp.concatenate([found.x.ravel(), found.log_lambda]), outer_state.memory, t
    )
    climb, by_lambda = slope[: x.size].reshape(x.shape), slope[x.size :]
    x = jnp.clip(x + step.x_rate * direction(climb, normalize), step.low, step.high)
    # each log_lambda's hypergradient is divided by its own size, so it moves by its sign (HLP V-A)
    log_lambda = outer_state.log_lambda - step.lambda_rate * jnp.sign(by_lambda)
    log_lambda = jnp.where(  # a fixed value stays as it is, -inf (no penalty) included
        step.lambda_rate > 0, jnp.clip(log_lambda, step.log_lambda_min, step.log_lambda_max), outer_state.log_lambda
    )
    return OuterState(replace_free(rows, x), log_lambda, memory), (found.loss, log_lambda, found.residual)


@functools.partial(jax.jit, static_argnames=("normalize", "free", "method", "count", "outer"))
def hyperiterations(
    keys: Array,
    objective: Objective,
    trainer: Trainer,
    outer_state: OuterState,
    target: Data,
    step: Step,
    first: Array,
    *,
    normalize: str,
    free: int,
    method: HypergradientMethod,
    count: int,
    outer: str = "plain",
    trusted: Data | None = None,
) -> tuple[OuterState, tuple[Array, Array, Array]]:
    """`count` hyperiterations, numbers `first` ... for each repetition, and in it for each setting of lambda.

    keys: [repetitions]; the model is initialized anew in hyperiteration t from fold_in(key, t).
    outer_state: arrays with leading axes [repetitions, settings], blocks before the last [repetitions]: the
    settings share them, so that their rows are read once for all (columns of compressed blocks are shared by all).
    target: the rows whose loss the points maximize, and log_lambda minimizes unless it has rows of its own,
    `trusted`; arrays with a leading repetition axis.
    Returns the new state, and the history: target loss [repetitions, settings, count] before each step and
    log_lambda [repetitions, settings, count, h] after it, and the linear system's residual like the loss.
    """

    def one(
        key: Array, outer_state: OuterState, target: Data, trusted: Data | None, lambda_rate: Array
    ) -> tuple[OuterState, tuple[Array, Array, Array]]:
        own = step._replace(lambda_rate=lambda_rate)

        def body(outer_state: OuterState, t: Array) -> tuple[OuterState, tuple[Array, Array, Array]]:
            at = jax.random.fold_in(key, t)
            return _hyperiteration(
                at, objective, trainer, outer_state, target, own, normalize, free, method, outer, trusted, t
            )

        return jax.lax.scan(body, outer_state, first + jnp.arange(count))

    shared = tuple(Block(None, None, None) for _ in outer_state.rows.blocks[1:])
    within = OuterState(Rows((*shared, Block(0, 0, None)), 0, 0), 0, 0)  # type: ignore[arg-type]
    axes = OuterState(repetition_axes(outer_state.rows), 0, 0)  # type: ignore[arg-type]
    settings = jax.vmap(one, in_axes=(None, within, None, None, 0), out_axes=(within, 0))
    over = jax.vmap(settings, in_axes=(0, axes, 0, 0, None), out_axes=(axes, 0))
    return over(keys, outer_state, target, trusted, step.lambda_rate)


def repetition_axes(rows: Rows) -> Rows:
    """vmap axes of `rows`: all arrays have a leading repetition axis but the kept columns."""
    return Rows(tuple(Block(0, 0, None) for _ in rows.blocks), 0, 0)
