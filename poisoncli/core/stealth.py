"""Hypergradient ascent on features and targets together, damage against detectability (SPR IV)."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from poisoncli.core.ascent import Front, direction, repetition_axes
from poisoncli.core.hypergrad import reverse
from poisoncli.core.network import predict
from poisoncli.core.train import Objective, Trainer, fit, free_rows, lay_out, replace_free
from poisoncli.core.types import Array, Data, Params


class Band(NamedTuple):
    """What the attacker believes of the clean data: clean parameters and their residual standard deviation."""

    params: Params
    sigma: Array


class Aim(NamedTuple):
    """What a hyperiteration climbs: alpha * damage / damage_ref - (1 - alpha) * risk / risk_ref (SPR eq. 4).

    alpha: in [0, 1]; risk_ref: positive; damage_ref: NaN before the first hyperiteration of a batch, whose
    damage it becomes where `relative` is set (SPR Algorithm 2, line 8).
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


@jax.jit
def clean_band(keys: Array, objective: Objective, trainer: Trainer, train: Data, log_lambda: Array) -> Band:
    """The band of each repetition: a model trained on the clean rows, sigma with n - d degrees of freedom.

    d counts the parameters, the bias included: n - p - 1 for p features of a linear model (SPR IV-A2).
    """

    def one(key: Array, train: Data, log_lambda: Array) -> Band:
        start = objective.model.init(key, train.x.shape[1])
        start = jax.tree.map(lambda leaf: leaf.astype(train.x.dtype), start)
        params = fit(objective, trainer, start, log_lambda, lay_out(train))
        residual = train.y - predict(objective.model, params, train.x)
        free = jnp.sum(train.weight) - sum(leaf.size for leaf in jax.tree.leaves(params))
        return Band(params, jnp.sqrt(jnp.sum(train.weight * residual**2) / jnp.maximum(free, 1)))

    return jax.vmap(one)(keys, train, log_lambda)


def risk(objective: Objective, band: Band, x: Array, y: Array) -> Array:
    """Detectability risk of the points x [k, m], y [k]: the product of two mean losses (SPR eq. 5).

    They are those of the clean model shifted up and down by sigma, so points near the edges of the band are
    the least suspicious ones.
    """
    output = predict(objective.model, band.params, x)
    return jnp.mean(objective.loss(output + band.sigma, y)) * jnp.mean(objective.loss(output - band.sigma, y))


def _climb(
    key: Array,
    objective: Objective,
    trainer: Trainer,
    front: Front,
    target: Data,
    band: Band,
    aim: Aim,
    gradient: str,
    relative: bool,
    free: int,
    store: bool,
) -> tuple[Front, Aim, Array, Array]:
    rows = front.rows
    x, y = free_rows(rows, free), rows.y[-free:]
    start = objective.model.init(key, x.shape[1])
    start = jax.tree.map(lambda leaf: leaf.astype(x.dtype), start)
    found = reverse(objective, trainer, start, front.log_lambda, rows, target, free, store, with_y=True)
    if relative:
        aim = aim._replace(damage_ref=jnp.where(jnp.isnan(aim.damage_ref), found.loss, aim.damage_ref))
    risk_x, risk_y = jax.grad(lambda x, y: risk(objective, band, x, y), argnums=(0, 1))(x, y)
    up, down = aim.alpha / aim.damage_ref, (1 - aim.alpha) / aim.risk_ref
    total = jnp.concatenate([up * found.x - down * risk_x, (up * found.y - down * risk_y)[:, None]], axis=1)
    moved = aim.rate * direction(total, gradient)
    place = jnp.append(x[0], y[0])
    x = jnp.clip(x + moved[:, :-1], aim.low, aim.high)
    y = jnp.clip(y + moved[:, -1], aim.y_low, aim.y_high)
    rows = replace_free(rows, x)
    return front._replace(rows=rows._replace(y=rows.y.at[-free:].set(y))), aim, found.loss, place


@functools.partial(jax.jit, static_argnames=("gradient", "relative", "free", "store", "count"))
def climbs(
    keys: Array,
    objective: Objective,
    trainer: Trainer,
    front: Front,
    target: Data,
    band: Band,
    aim: Aim,
    first: Array,
    *,
    gradient: str,
    relative: bool,
    free: int,
    store: bool,
    count: int,
) -> tuple[Front, Aim, Array, Array]:
    """`count` hyperiterations, numbers `first` ... for each repetition; see `ascent.hyperiterations`.

    band, aim: arrays with a leading repetition axis. Returns the new front, the aim with its reference, and before
    each step the target loss [repetitions, count] and the first free row [repetitions, count, m + 1].
    """

    def one(key: Array, front: Front, target: Data, band: Band, aim: Aim) -> tuple[Front, Aim, Array, Array]:
        def body(state: tuple[Front, Aim], t: Array) -> tuple[tuple[Front, Aim], tuple[Array, Array]]:
            at = jax.random.fold_in(key, t)
            front, aim, *seen = _climb(
                at, objective, trainer, state[0], target, band, state[1], gradient, relative, free, store
            )
            return (front, aim), tuple(seen)  # type: ignore[return-value]

        (front, aim), (losses, trail) = jax.lax.scan(body, (front, aim), first + jnp.arange(count))
        return front, aim, losses, trail

    axes = Front(repetition_axes(front.rows), 0)  # type: ignore[arg-type]
    return jax.vmap(one, in_axes=(0, axes, 0, 0, 0), out_axes=(axes, 0, 0, 0))(keys, front, target, band, aim)


@jax.jit
def landscape(
    key: Array,
    objective: Objective,
    trainer: Trainer,
    train: Data,
    log_lambda: Array,
    batch: Array,
    target: Data,
    band: Band,
    aim: Aim,
    places: Array,
) -> Array:
    """What the ascent climbs, for each place [k, m + 1] of the first point of a batch (SPR Figs. 2 and 3).

    train: the training rows of one repetition, poison included; batch: which of them are the batch [points].
    Of `aim`, alpha and the references count.
    """
    start = objective.model.init(key, train.x.shape[1])
    start = jax.tree.map(lambda leaf: leaf.astype(train.x.dtype), start)

    def value(place: Array) -> Array:
        x, y = train.x.at[batch[0]].set(place[:-1]), train.y.at[batch[0]].set(place[-1])
        rows = lay_out(train._replace(x=x, y=y))
        params = fit(objective, trainer, start, log_lambda, rows)
        damage, danger = objective.clean_loss(params, target), risk(objective, band, x[batch], y[batch])
        return aim.alpha * damage / aim.damage_ref - (1 - aim.alpha) * danger / aim.risk_ref

    return jax.lax.map(value, places, batch_size=64)
