"""Hypergradient ascent on features and targets together, damage against detectability (SPR IV)."""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from poisoncli.bilevel.ascent import (
    OuterState,
    StageProblem,
    direction,
    repetition_axes,
    rows_of_setting,
    setting_axes,
)
from poisoncli.bilevel.reverse import reverse
from poisoncli.core.data import Array, Data, Params
from poisoncli.core.victim import Objective, Trainer, predict
from poisoncli.training.descent import fit
from poisoncli.training.layout import free_rows, lay_out, replace_free


class CleanFit(NamedTuple):
    """What the attacker believes of the clean data: clean parameters and their residual standard deviation."""

    params: Params
    sigma: Array


class Tradeoff(NamedTuple):
    """What a hyperiteration climbs: alpha * damage / damage_ref - (1 - alpha) * risk / risk_ref (SPR eq. 4).

    alpha: in [0, 1]; damage_ref: positive, see `damage`; risk_ref: positive.
    rate: step size gamma; low, high [m] and y_low, y_high: the box.
    """

    alpha: Array
    damage_ref: Array
    risk_ref: Array
    rate: Array
    low: Array
    high: Array
    y_low: Array
    y_high: Array

    def axes(self) -> Tradeoff:
        """vmap axes over the settings of a repetition, which share the box."""
        own = ("alpha", "damage_ref", "risk_ref", "rate")
        return Tradeoff(**{name: 0 if name in own else None for name in self._fields})  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class StealthyAscent:
    """How hyperiterations are computed; each is compiled on its own.

    gradient: how it is normalized, see `ascent.direction`. store: see `hypergradient.reverse`. count: how many
    there are.
    """

    gradient: str
    store: bool
    count: int


@jax.jit
def fit_clean(keys: Array, objective: Objective, trainer: Trainer, train: Data, log_lambda: Array) -> CleanFit:
    """The band of each repetition: a model trained on the clean rows, sigma with n - d degrees of freedom.

    d counts the parameters, the bias included: n - p - 1 for p features of a linear model (SPR IV-A2).
    log_lambda: [repetitions, h], or [repetitions, settings, h] with a band for each, also of the trainer's rate.
    """

    def one(key: Array, train: Data, log_lambda: Array, trainer: Trainer) -> CleanFit:
        start = objective.init(key, train.x.shape[1], train.x.dtype)
        params = fit(objective, trainer, start, log_lambda, lay_out(train))
        residual = train.y - predict(objective.model, params, train.x)
        free = jnp.sum(train.weight) - sum(leaf.size for leaf in jax.tree.leaves(params))
        return CleanFit(params, jnp.sqrt(jnp.sum(train.weight * residual**2) / jnp.maximum(free, 1)))

    each = one if log_lambda.ndim == 2 else jax.vmap(one, in_axes=(None, None, 0, setting_axes(trainer)))
    return jax.vmap(each, in_axes=(0, 0, 0, None))(keys, train, log_lambda, trainer)


@jax.jit
def damage(
    keys: Array, objective: Objective, trainer: Trainer, train: Data, log_lambda: Array, target: Data
) -> Array:
    """Target loss of a model trained on `train`, for each repetition [repetitions] (SPR Algorithm 2, lines 3-8).

    On the rows before a batch, finished batches in them, it is L_ref: what that batch's damage is divided by.
    Where log_lambda has an axis for settings, so has `train`, and what is returned.
    """

    def one(key: Array, train: Data, log_lambda: Array, target: Data, trainer: Trainer) -> Array:
        start = objective.init(key, train.x.shape[1], train.x.dtype)
        return objective.clean_loss(fit(objective, trainer, start, log_lambda, lay_out(train)), target)

    each = one if log_lambda.ndim == 2 else jax.vmap(one, in_axes=(None, 0, 0, None, setting_axes(trainer)))
    return jax.vmap(each, in_axes=(0, 0, 0, 0, None))(keys, train, log_lambda, target, trainer)


def risk(objective: Objective, clean_fit: CleanFit, x: Array, y: Array) -> Array:
    """Detectability risk of the points x [k, m], y [k]: the product of two mean losses (SPR eq. 5).

    They are those of the clean model shifted up and down by sigma, so points near the edges of the band are
    the least suspicious ones.
    """
    output = predict(objective.model, clean_fit.params, x)
    return jnp.mean(objective.loss(output + clean_fit.sigma, y)) * jnp.mean(
        objective.loss(output - clean_fit.sigma, y)
    )


def risks(objective: Objective, clean_fit: CleanFit, x: Array, y: Array) -> Array:
    """`risk` of each repetition, or of each of its settings; arrays have these leading axes."""

    def one(clean_fit: CleanFit, x: Array, y: Array) -> Array:
        return risk(objective, clean_fit, x, y)

    return jax.vmap(one if y.ndim == 2 else jax.vmap(one))(clean_fit, x, y)


def _climb(
    key: Array,
    problem: StageProblem,
    outer_state: OuterState,
    clean_fit: CleanFit,
    tradeoff: Tradeoff,
    ascent: StealthyAscent,
) -> tuple[OuterState, Array, Array]:
    rows = outer_state.rows
    x, y = free_rows(rows, problem.free), rows.y[-problem.free :]
    found = reverse(problem.at(key, outer_state), ascent.store, with_y=True)
    risk_x, risk_y = jax.grad(lambda x, y: risk(problem.objective, clean_fit, x, y), argnums=(0, 1))(x, y)
    up, down = tradeoff.alpha / tradeoff.damage_ref, (1 - tradeoff.alpha) / tradeoff.risk_ref
    by_x, by_y = up * found.x - down * risk_x, up * found.y - down * risk_y
    by_x = by_x if problem.region is None else problem.region.free(by_x)
    total = jnp.concatenate([by_x, by_y[:, None]], axis=1)
    moved = tradeoff.rate * direction(total, ascent.gradient)
    place = jnp.append(x[0], y[0])
    x = x + moved[:, :-1]
    x = jnp.clip(x, tradeoff.low, tradeoff.high) if problem.region is None else problem.region.project(x)
    y = jnp.clip(y + moved[:, -1], tradeoff.y_low, tradeoff.y_high)
    rows = replace_free(rows, x)
    rows = rows._replace(y=rows.y.at[-problem.free :].set(y))
    return outer_state._replace(rows=rows), found.loss, place


@functools.partial(jax.jit, static_argnames="ascent")
def hyperiterations(
    keys: Array,
    problem: StageProblem,
    outer_state: OuterState,
    clean_fit: CleanFit,
    tradeoff: Tradeoff,
    first: Array,
    *,
    ascent: StealthyAscent,
) -> tuple[OuterState, Array, Array]:
    """`ascent.count` hyperiterations, numbers `first` ... for each repetition; see `ascent.hyperiterations`.

    clean_fit, tradeoff: arrays with a leading repetition axis. Where log_lambda has an axis for settings after it,
    so have they, the state and what is returned; the settings share all blocks of rows but the last.
    Returns the new state, and before each step the target loss [repetitions, count] and the first free row
    [repetitions, count, m + 1].
    """

    def one(
        key: Array, problem: StageProblem, outer_state: OuterState, clean_fit: CleanFit, tradeoff: Tradeoff
    ) -> tuple[OuterState, Array, Array]:
        def body(outer_state: OuterState, t: Array) -> tuple[OuterState, tuple[Array, Array]]:
            at = jax.random.fold_in(key, t)
            outer_state, loss, place = _climb(at, problem, outer_state, clean_fit, tradeoff, ascent)
            return outer_state, (loss, place)

        outer_state, (losses, trail) = jax.lax.scan(body, outer_state, first + jnp.arange(ascent.count))
        return outer_state, losses, trail

    axes, each = OuterState(repetition_axes(outer_state.rows), 0), one  # type: ignore[arg-type]
    if outer_state.log_lambda.ndim == 3:
        within = OuterState(rows_of_setting(outer_state.rows), 0)  # type: ignore[arg-type]
        settings = (None, problem.settings_axes(), within, 0, tradeoff.axes())
        each = jax.vmap(one, in_axes=settings, out_axes=(within, 0, 0))
    return jax.vmap(each, in_axes=(0, problem.axes(), axes, 0, 0), out_axes=(axes, 0, 0))(
        keys, problem, outer_state, clean_fit, tradeoff
    )


@jax.jit
def landscape(
    key: Array,
    objective: Objective,
    trainer: Trainer,
    train: Data,
    log_lambda: Array,
    batch: Array,
    target: Data,
    clean_fit: CleanFit,
    tradeoff: Tradeoff,
    places: Array,
) -> Array:
    """What the ascent climbs, for each place [k, m + 1] of the first point of a batch (SPR Figs. 2 and 3).

    train: the training rows of one repetition, poison included; batch: which of them are the batch [points].
    Of `tradeoff`, alpha and the references count.
    """
    start = objective.init(key, train.x.shape[1], train.x.dtype)

    def value(place: Array) -> Array:
        x, y = train.x.at[batch[0]].set(place[:-1]), train.y.at[batch[0]].set(place[-1])
        rows = lay_out(train._replace(x=x, y=y))
        params = fit(objective, trainer, start, log_lambda, rows)
        damage, danger = objective.clean_loss(params, target), risk(objective, clean_fit, x[batch], y[batch])
        return tradeoff.alpha * damage / tradeoff.damage_ref - (1 - tradeoff.alpha) * danger / tradeoff.risk_ref

    return jax.lax.map(value, places, batch_size=64)
