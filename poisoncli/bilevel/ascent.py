"""Projected hypergradient ascent on the free rows, and descent on log_lambda (HLP Algorithm 2)."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from poisoncli.bilevel.bilevel_problem import BilevelProblem
from poisoncli.bilevel.hypergradient import HypergradientMethod
from poisoncli.bilevel.outer_rules import outer_direction
from poisoncli.bilevel.region import Region
from poisoncli.core.data import Array, Data
from poisoncli.core.victim import Block, Objective, Rows, Trainer
from poisoncli.training.layout import free_rows, replace_free

NORMALIZE = ("point", "batch", "none")


class Step(NamedTuple):
    """How a hyperiteration moves (HLP eq. 10).

    x_rate: step size alpha of the points, a scalar or [settings]; 0 leaves them where they are.
    lambda_rate: step size of log_lambda [settings]; 0 keeps it fixed.
    lambda_fall: number of hyperiterations over whose last quarter that falls to 0, reached after the last; inf
    where it stays as it is (HLP).
    low, high: domain of the features, scalars or [m]; where the problem has a region, that is it instead.
    log_lambda_min, log_lambda_max: domain of log_lambda, scalars or [settings].
    """

    x_rate: Array
    lambda_rate: Array
    lambda_fall: Array
    low: Array
    high: Array
    log_lambda_min: Array
    log_lambda_max: Array

    def axes(self) -> Step:
        """vmap axes over the settings."""
        either = ("x_rate", "log_lambda_min", "log_lambda_max")
        found: dict = {name: 0 if jnp.ndim(getattr(self, name)) else None for name in either}
        return Step(**{**dict.fromkeys(Step._fields), **found, "lambda_rate": 0})


class OuterState(NamedTuple):
    """Where the ascent stands: training rows whose last block ends with the free rows, and log_lambda.

    memory: what the rule for the outer steps remembers, see `outer_rules`; of points and log_lambda in one.
    """

    rows: Rows
    log_lambda: Array
    memory: Array | tuple = ()


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class StageProblem:
    """What stays the same during a stage: the victim, its training, and the rows that are looked at.

    target: the rows whose loss the points maximize, and log_lambda minimizes unless it has rows of its own,
    `trusted`; arrays with a leading repetition axis.
    free: how many rows move, the last ones of the last block. region: where they may go, of each repetition.
    """

    objective: Objective
    trainer: Trainer
    target: Data
    free: int = dataclasses.field(metadata={"static": True})
    trusted: Data | None = None
    region: Region | None = None

    def at(self, key: Array, outer_state: OuterState) -> BilevelProblem:
        """The problem of a hyperiteration, for one repetition; the model is initialized anew from `key`."""
        rows = outer_state.rows
        x = free_rows(rows, self.free)
        start = self.objective.init(key, x.shape[1], x.dtype)
        return BilevelProblem(
            self.objective,
            self.trainer,
            start,
            outer_state.log_lambda,
            rows,
            self.target,
            self.free,
            self.trusted,
        )

    def axes(self) -> StageProblem:
        """vmap axes over the repetitions."""
        axes: dict = {"objective": None, "trainer": None, "target": 0, "trusted": 0, "region": 0}
        return dataclasses.replace(self, **axes)

    def settings_axes(self) -> StageProblem:
        """vmap axes over the settings, within a repetition: most they share, see `Problem.varied`."""
        shared: Objective = jax.tree.map(lambda _: None, self.objective)
        target = Data(*(0 if leaf.ndim > n else None for leaf, n in zip(self.target, (3, 2, 2), strict=True)))
        axes: dict = {
            "objective": dataclasses.replace(shared, l1=0 if jnp.ndim(self.objective.l1) else None),  # type: ignore
            "trainer": setting_axes(self.trainer),
            "target": target,
            "trusted": None,
            "region": None,
        }
        return dataclasses.replace(self, **axes)


@dataclasses.dataclass(frozen=True)
class Ascent:
    """How hyperiterations are computed; each is compiled on its own.

    normalize: see `direction`. method: of the hypergradient. outer: see `outer_rules`. count: how many there are.
    """

    normalize: str
    method: HypergradientMethod
    count: int
    outer: str = "plain"


def direction(gradient: Array, normalize: str) -> Array:
    """`gradient` [k, m] with each row (`point`) or the whole (`batch`) scaled to L2 norm one, or as it is."""
    tiny = jnp.finfo(gradient.dtype).tiny
    if normalize == "point":
        return gradient / jnp.maximum(jnp.linalg.norm(gradient, axis=-1, keepdims=True), tiny)
    if normalize == "batch":
        return gradient / jnp.maximum(jnp.linalg.norm(gradient), tiny)
    return gradient


def _hyperiteration(
    key: Array, problem: StageProblem, outer_state: OuterState, step: Step, ascent: Ascent, t: Array
) -> tuple[OuterState, tuple[Array, Array, Array]]:
    rows = outer_state.rows
    x = free_rows(rows, problem.free)
    found = ascent.method(problem.at(key, outer_state))
    slope, memory = outer_direction(
        ascent.outer, jnp.concatenate([found.x.ravel(), found.log_lambda]), outer_state.memory, t
    )
    climb, by_lambda = slope[: x.size].reshape(x.shape), slope[x.size :]
    if problem.region is None:
        x = jnp.clip(x + step.x_rate * direction(climb, ascent.normalize), step.low, step.high)
    else:
        climb = problem.region.free(climb)
        x = problem.region.project(x + step.x_rate * direction(climb, ascent.normalize))
    # each log_lambda's hypergradient is divided by its own size, so it moves by its sign (HLP V-A)
    left = 1 - t.astype(x.dtype) / step.lambda_fall
    log_lambda = outer_state.log_lambda - step.lambda_rate * jnp.minimum(1, 4 * left) * jnp.sign(by_lambda)
    log_lambda = jnp.where(  # a fixed value stays as it is, -inf (no penalty) included
        step.lambda_rate > 0, jnp.clip(log_lambda, step.log_lambda_min, step.log_lambda_max), outer_state.log_lambda
    )
    return OuterState(replace_free(rows, x), log_lambda, memory), (found.loss, log_lambda, found.residual)


@functools.partial(jax.jit, static_argnames="ascent")
def hyperiterations(
    keys: Array, problem: StageProblem, outer_state: OuterState, step: Step, first: Array, *, ascent: Ascent
) -> tuple[OuterState, tuple[Array, Array, Array]]:
    """`ascent.count` hyperiterations, numbers `first` ..., of each repetition, and in it of each setting of lambda.

    keys: [repetitions]; the model is initialized anew in hyperiteration t from fold_in(key, t).
    outer_state: arrays with leading axes [repetitions, settings], blocks before the last [repetitions]: the
    settings share them, so that their rows are read once for all (columns of compressed blocks are shared by all).
    Returns the new state, and the history: target loss [repetitions, settings, count] before each step and
    log_lambda [repetitions, settings, count, h] after it, and the linear system's residual like the loss.
    """

    def one(
        key: Array, problem: StageProblem, outer_state: OuterState, own: Step
    ) -> tuple[OuterState, tuple[Array, Array, Array]]:
        def body(outer_state: OuterState, t: Array) -> tuple[OuterState, tuple[Array, Array, Array]]:
            return _hyperiteration(jax.random.fold_in(key, t), problem, outer_state, own, ascent, t)

        return jax.lax.scan(body, outer_state, first + jnp.arange(ascent.count))

    within = OuterState(rows_of_setting(outer_state.rows), 0, 0)  # type: ignore[arg-type]
    axes = OuterState(repetition_axes(outer_state.rows), 0, 0)  # type: ignore[arg-type]
    inner = (None, problem.settings_axes(), within, step.axes())
    settings = jax.vmap(one, in_axes=inner, out_axes=(within, 0))
    over = jax.vmap(settings, in_axes=(0, problem.axes(), axes, None), out_axes=(axes, 0))
    return over(keys, problem, outer_state, step)


def repetition_axes(rows: Rows) -> Rows:
    """vmap axes of `rows`: all arrays have a leading repetition axis but the kept columns."""
    return Rows(tuple(Block(0, 0, None) for _ in rows.blocks), 0, 0)


def rows_of_setting(rows: Rows) -> Rows:
    """vmap axes of the `rows` of a repetition over its settings, which share all blocks but the last."""
    shared = tuple(Block(None, None, None) for _ in rows.blocks[1:])
    return Rows((*shared, Block(0, 0, None)), 0, 0)  # type: ignore[arg-type]


def setting_axes(made: Any) -> Any:
    """vmap axes over the settings of a PyTree of scalars, and of vectors with a number for each setting."""
    return jax.tree.map(lambda leaf: 0 if jnp.ndim(leaf) else None, made)
