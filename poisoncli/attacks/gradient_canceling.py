"""Gradient canceling: added rows that make decoy parameters stationary, for any model (Lu, Kamath and Yu 2023)."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from poisoncli.bilevel.decoy_parameters import by_ascent, by_flips, trained
from poisoncli.bilevel.initial_poison import copies, flipped_copies
from poisoncli.bilevel.region import Region, regions
from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Array, Data, Params, Task
from poisoncli.core.losses import error_rate
from poisoncli.core.method import method, option
from poisoncli.core.victim import Objective, predict
from poisoncli.tables import memory
from poisoncli.training.descent import gradient
from poisoncli.training.footprint import footprint
from poisoncli.training.layout import lay_out

LOG = logging.getLogger(__name__)
_BLOCK = 50  # steps in one compiled call
_ADAM = optax.scale_by_adam(eps=1e-12)  # the objective is a share of what there is to cancel, its slopes small


@method
class GradientCanceling:
    """Adds rows whose gradient cancels that of the clean rows at decoy parameters (Lu, Kamath and Yu 2023).

    The rows start as copies of clean ones and descend, by Adam, on the squared norm of the gradient of the
    victim's objective at the decoy, on clean rows and poison together. Every decoy is tried; the one whose poison
    does most on the target rows, once the victim is trained on it, wins. Any model will do that can be
    differentiated twice. Knows the training rows, the target rows and the victim's training.

    decoy: parameters that the victim shall learn: those of the clean victim after `ascent` on the target rows'
    loss (as in the authors' code), of a victim trained on relabeled target rows too (`flips`, as KSL), or `both`.
    strengths: how far decoys are from the clean victim, each tried: the length of the ascent as a multiple of the
    norm of its parameters, or the weight of the relabeled target rows as a multiple of that of the clean rows.
    outer_steps: of descent on the rows, for each decoy.
    outer_rate: length of a step in units of the features, per feature; it falls to 0 on a cosine.
    box: `clip` keeps features in their domain, `none` does not (but the rows of tables are rounded into it).
    labels: rows start as clean rows with their `own` labels (the authors' code), or `flipped` as poison_label says.
    poison_label: the class of rows whose labels are flipped: any `other` than their own, the `nearest` (likeliest
    after their own to the victim of the clean rows), the `least-likely`, or one by its name; of two classes the
    first three are the same.
    target: the rows to be classified wrongly: `val`, `test` or `train`, `class:K` for the validation rows of class
    K, `rows:FILE` for rows by their numbers, kept out of all else.
    target_label: the class that these rows are pushed to; by default any wrong one.
    target_loss: what the ascent climbs on: the loss of the `training`, or the `margin`, which never saturates.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")
    adds: ClassVar[bool] = True
    victims: ClassVar[tuple[str, ...]] = ("logistic", "mlp", "cnn")
    in_label: ClassVar[Mapping[str, Any]] = {"box": "clip", "labels": "own", "poison_label": "other"}

    decoy: str = option("both", choices=("ascent", "flips", "both"))
    strengths: tuple[float, ...] = option((0.05, 0.15, 0.5, 1.5), above=0)
    outer_steps: int = option(500, low=1, high=1_000_000)
    outer_rate: float = option(0.2, above=0)
    box: str = option("clip", choices=("clip", "none"))
    labels: str = option("own", choices=("own", "flipped"))
    target_loss: str = option("training", choices=("training", "margin"))
    poison_label: str = "other"
    target: str = "val"
    target_label: str = ""

    def craft(self, key: Array, problem: Problem, resume: Poison | None = None) -> Iterator[Poison]:
        """See `Attack.craft`; `Poison.loss` has the share of target rows that the poison of each decoy wins."""
        _check_memory(problem)
        start = (flipped_copies if self.labels == "flipped" else copies)(jax.random.fold_in(key, 0), problem, 0)
        decoys = [(kind, size) for kind in self._kinds() for size in self.strengths]
        blocks = -(-self.outer_steps // _BLOCK)
        poison = resume or _blank(start, len(decoys), len(start.x) * len(decoys) * blocks)
        for r in range(poison.done // (len(decoys) * blocks), len(start.x)):
            own = jax.random.fold_in(jax.random.fold_in(key, 1), r)
            place = _Place(problem, r, start.y[r], own, self._limits(problem, start, r))
            clean = trained(own, problem.objective, problem.trainer, place.train, place.log_lambda)
            first = poison.done - r * len(decoys) * blocks
            for number in range(first // blocks, len(decoys)):
                canceled = place.canceling(self._decoy(place, clean, *decoys[number]))
                begun = poison.done - (r * len(decoys) + number) * blocks
                state = _begin(start.x[r]) if begun == 0 else _restored(poison, r)
                for block in range(begun, blocks):
                    ends = (block * _BLOCK, min((block + 1) * _BLOCK, self.outer_steps))
                    state = _descend(
                        problem.objective, canceled, place.limits, state, *ends, self.outer_steps, self.outer_rate
                    )
                    poison = _kept(poison, r, state)._replace(done=poison.done + 1)
                    if block + 1 == blocks:
                        poison = self._judged(place, poison, number, state[0], canceled)
                    if poison.done == poison.total:
                        poison = poison._replace(memory=np.empty((0, 0, 0), np.float32))
                    yield poison

    def _kinds(self) -> tuple[str, ...]:
        return ("ascent", "flips") if self.decoy == "both" else (self.decoy,)

    def _limits(self, problem: Problem, start: Poison, r: int) -> _Limits:
        """Where the rows of a repetition may go."""
        dtype, threat = problem.train.x.dtype, problem.threat
        region = None
        if self.box == "none":
            low, high = -np.inf, np.inf
        else:
            low, high = (bound[r] if np.ndim(bound) == 2 else bound for bound in (threat.low, threat.high))
            found = regions(problem, start, slice(r, r + 1), slice(0, start.y.shape[1]))
            region = None if found is None else jax.tree.map(lambda leaf: leaf[0], found)
        return _Limits(jnp.asarray(low, dtype), jnp.asarray(high, dtype), region)

    def _decoy(self, place: _Place, clean: Params, kind: str, size: float) -> Params:
        objective, strength = place.problem.objective, jnp.asarray(size, place.train.x.dtype)
        if kind == "ascent":
            return by_ascent(objective, clean, place.target, strength)
        rows = (place.train, place.target)
        trainer, pushed = place.problem.trainer, bool(self.target_label)
        return by_flips(place.key, objective, trainer, clean, rows, place.log_lambda, strength, pushed=pushed)

    def _judged(self, place: _Place, poison: Poison, number: int, x: Array, canceled: Canceling) -> Poison:
        """`poison` with the rows x in it if they do more than what was found before."""
        r, won, trace = place.r, place.won(x, bool(self.target_label)), poison.loss.copy()
        best = float(np.nanmax(trace[r, 1], initial=-1.0))
        trace[r, 1, number] = won
        left = float(share_left(place.problem.objective, canceled, x))
        LOG.debug("decoy %d: %.3g of the gradient is left, %.3g of the target rows are won", number, left, won)
        if won <= best or not bool(jnp.all(jnp.isfinite(x))):
            return poison._replace(loss=trace)
        rows = poison.x.copy()
        rows[r] = x
        return poison._replace(x=rows, loss=trace)


class _Limits(NamedTuple):
    """Range of the features, scalars or [m]; or the region of data with a schema, which then is it."""

    low: Array
    high: Array
    region: Region | None

    def project(self, x: Array) -> Array:
        return jnp.clip(x, self.low, self.high) if self.region is None else self.region.project(x)


class Canceling(NamedTuple):
    """What poison has to cancel.

    params: the decoy. rest: gradient at them of the objective on clean rows and poison, without the poison's part.
    size: squared norm of `rest`. y: labels of the poison [p]. share: of the poison among all rows.
    """

    params: Params
    rest: Params
    size: Array
    y: Array
    share: Array


class _Place(NamedTuple):
    """One repetition of a problem; key: of the trainings. See `_Limits`."""

    problem: Problem
    r: int
    y: np.ndarray
    key: Array
    limits: _Limits

    @property
    def train(self) -> Data:
        return Data(*(jnp.asarray(leaf[self.r]) for leaf in self.problem.train))

    @property
    def target(self) -> Data:
        return Data(*(jnp.asarray(leaf[self.r]) for leaf in self.problem.target))

    @property
    def log_lambda(self) -> Array:
        return jnp.asarray(self.problem.log_lambda[self.r], self.problem.train.x.dtype)

    def canceling(self, params: Params) -> Canceling:
        return to_cancel(self.problem.objective, params, self.train, self.log_lambda, jnp.asarray(self.y))

    def won(self, x: Array, pushed: bool) -> float:
        """Share of the target rows that come out as wanted once the victim is trained; 0 where that diverges."""
        added = Data(x, jnp.asarray(self.y), jnp.ones_like(self.y))
        rows = Data(*(jnp.concatenate(parts) for parts in zip(self.train, added, strict=True)))
        objective = self.problem.objective
        found = trained(self.key, objective, self.problem.trainer, rows, self.log_lambda)
        output = predict(objective.model, found, self.target.x)
        wrong = float(error_rate(output, self.target.y, self.target.weight))
        return (1 - wrong if pushed else wrong) if bool(jnp.all(jnp.isfinite(output))) else 0.0


@jax.jit
def to_cancel(objective: Objective, params: Params, train: Data, log_lambda: Array, y: Array) -> Canceling:
    """See `Canceling`; the penalty's gradient is part of what is left to the poison."""
    share = len(y) / (jnp.sum(train.weight) + len(y))
    of_rows, _ = gradient(dataclasses.replace(objective, reg="none"), params, log_lambda, lay_out(train))
    pull = jax.grad(objective.penalty_of)(params, log_lambda)
    rest = jax.tree.map(lambda a, b: (1 - share) * a + b, of_rows, pull)
    return Canceling(params, rest, optax.tree.norm(rest, squared=True), y, share)


def remaining(objective: Objective, canceled: Canceling, x: Array) -> Params:
    """The gradient at the decoy of the objective on clean rows and poison x [p, m]."""

    def mean(params: Params) -> Array:
        return jnp.mean(objective.loss(predict(objective.model, params, x), canceled.y))

    return jax.tree.map(lambda a, b: a + canceled.share * b, canceled.rest, jax.grad(mean)(canceled.params))


def half_square(objective: Objective, canceled: Canceling, x: Array) -> Array:
    """Half the squared norm of what remains, as a share of what was there to cancel (Lu et al. 2023)."""
    left = optax.tree.norm(remaining(objective, canceled, x), squared=True)
    return 0.5 * left / jnp.maximum(canceled.size, jnp.finfo(x.dtype).tiny)


@jax.jit
def share_left(objective: Objective, canceled: Canceling, x: Array) -> Array:
    """Norm of the gradient that remains over the norm without poison."""
    return jnp.sqrt(2 * half_square(objective, canceled, x))


State = tuple[Array, optax.ScaleByAdamState]  # rows [p, m], and what Adam remembers of their slopes


@jax.jit
def _descend(
    objective: Objective,
    canceled: Canceling,
    limits: _Limits,
    state: State,
    first: Array,
    stop: Array,
    steps: Array,
    rate: Array,
) -> State:
    """Steps number `first` ... `stop` - 1 of so many, each projected into the limits."""
    slope = jax.grad(functools.partial(half_square, objective, canceled))

    def step(t: Array, state: Any) -> Any:
        x, adam = state
        change, adam = _ADAM.update(slope(x), adam)
        fall = 0.5 * (1 + jnp.cos(jnp.pi * jnp.asarray(t, x.dtype) / steps))
        return limits.project(x - (rate * fall).astype(x.dtype) * change), adam

    return jax.lax.fori_loop(first, stop, step, state)


def _begin(x: Array) -> State:
    rows: Any = jnp.asarray(x)
    adam: Any = _ADAM.init(rows)
    return rows, adam


def _blank(start: Poison, decoys: int, total: int) -> Poison:
    """Poison as it starts, with room for what `_kept` keeps."""
    repetitions, points, m = start.x.shape
    return start._replace(
        replaced=np.full_like(start.replaced, -1),
        loss=np.full((repetitions, len(start.counts), decoys), np.nan, np.float32),
        total=total,
        memory=np.zeros((repetitions, 3, points * m + 1), np.float32),
    )


def _kept(poison: Poison, r: int, state: State) -> Poison:
    """`poison` that remembers the state of a descent: rows, Adam's two moments, and its count of steps."""
    kept = poison.memory.copy()
    for vector, leaf in enumerate((state[0], state[1].mu, state[1].nu)):
        kept[r, vector, :-1] = np.asarray(leaf).ravel()
    kept[r, :, -1] = np.asarray(state[1].count)
    return poison._replace(memory=kept)


def _restored(poison: Poison, r: int) -> State:
    """The state that `_kept` keeps."""
    x, mu, nu = (jnp.asarray(vector[:-1].reshape(poison.x.shape[1:])) for vector in poison.memory[r])
    return x, optax.ScaleByAdamState(jnp.asarray(int(poison.memory[r, 0, -1]), jnp.int32), mu, nu)


def _check_memory(problem: Problem) -> None:
    """Raise `PoisonError` where training, or the slopes of the poison, would not fit."""
    n, m = problem.train.x.shape[1:]
    points = problem.threat.counts[-1]
    parameters, activations = footprint(problem.objective, m)
    rows = 4 * (n + len(problem.target.y[0])) * (activations + m) + 8 * points * (activations + m)
    needed = problem.train.x.dtype.itemsize * (rows + 12 * parameters + 3 * problem.train.x.size)
    memory.check(needed, "the attack", "take fewer rows, or a smaller model")
