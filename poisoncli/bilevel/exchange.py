"""Local exchange on rounded poison rows: other whole numbers and categories, kept where the target loss rises.

What the hypergradient at the rounded rows promises to gain is tried, in sets of rows together, by training the
victim on each set; the best one is kept, and it goes on from there until none raises the target loss.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.bilevel.ascent import OuterState, StageProblem
from poisoncli.bilevel.reverse import reverse
from poisoncli.bilevel.schedule import Part, store_products
from poisoncli.bilevel.stage import begin_stage, only_setting
from poisoncli.core import domain
from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Array, Data
from poisoncli.core.domain import DOWN, NOWHERE, UP, Domain
from poisoncli.core.victim import Block, is_linear_first
from poisoncli.core.victim import Rows as Layout
from poisoncli.training.descent import fit
from poisoncli.training.layout import replace_free
from poisoncli.training.trainers import steps_of

ROUNDS = 10  # for a batch, at most
_SINGLE = 4  # rows that are tried one by one
_TOGETHER = 32  # trainings at once; less where the rows are many
_NUMBERS = 2**26  # that these may hold
_RISE = 1e-6  # of the target loss, below which a rise is rounding


class Rows(NamedTuple):
    """The rounded rows of a batch in their own units [k, m], where they started, and how they are scaled [m]."""

    x: np.ndarray
    origin: np.ndarray
    shift: np.ndarray
    scale: np.ndarray

    def scaled(self, x: np.ndarray) -> np.ndarray:
        """Features [..., m] as a run has them."""
        return ((x - self.shift) / self.scale).astype(np.float32)


def exchange(
    key: Array,
    problem: Problem,
    limits: Domain,
    poison: Poison,
    origin: np.ndarray,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Poison:
    """`poison`, whose rows are rounded, with other whole numbers and categories where that raises the target loss.

    Batch by batch, as it was crafted, each with the log_lambda of its stage, and the batches before it as they now
    are. A problem with one setting.

    limits: their domain. origin: what the rows started as, in their own units [repetitions, points, m].
    key: for the initial parameters, the same in all trainings of a repetition.
    """
    repetitions, m = len(origin), origin.shape[2]
    shift, scale = (np.broadcast_to(np.asarray(part, float), (repetitions, m)) for part in problem.units[:2])
    stages = len(poison.counts) - 1
    for r in range(repetitions):
        asked = limits.of(r)
        target = Data(*(jnp.asarray(leaf[r]) for leaf in problem.target))
        for stage in range(1, stages + 1):
            report(r * stages + stage - 1, repetitions * stages)
            state, slot = begin_stage(problem, poison, Part(slice(r, r + 1), stage, 0))
            state = _only_repetition(only_setting(state))
            stage_problem = StageProblem(problem.objective, problem.trainer, target, slot.free)
            own = poison.x[r, slot.batch].astype(float) * scale[r] + shift[r]
            start = origin[r, slot.batch]
            rows = Rows(domain.rounded(asked, own, start), start, shift[r], scale[r])
            x = poison.x.copy()
            x[r, slot.batch] = _climb(jax.random.fold_in(key, r), stage_problem, state, asked, rows)
            poison = poison._replace(x=x)
    report(repetitions * stages, repetitions * stages)
    return poison


def _only_repetition(state: OuterState) -> OuterState:
    """`state` of one repetition, without the axis of the repetitions."""
    rows = state.rows
    blocks = tuple(Block(block.x[0], block.xt[0], block.columns) for block in rows.blocks)
    return OuterState(Layout(blocks, rows.y[0], rows.weight[0]), state.log_lambda[0])


def _climb(key: Array, problem: StageProblem, state: OuterState, asked: Domain, rows: Rows) -> np.ndarray:
    """The rows of a batch, scaled [k, m], after the exchange."""
    n, m = state.rows.y.shape[0], rows.x.shape[1]
    steps, width = steps_of(problem.trainer, n), _width(problem, m)
    store = store_products(steps, n, m, width, len(rows.x), problem.trainer.size)
    together = int(np.clip(_NUMBERS // (n * width), 1, _TOGETHER))
    for _ in range(ROUNDS):
        before, slope = _slope(key, problem, state, store=store)
        moves = candidates(asked, rows, np.asarray(slope, float) / rows.scale)
        tried = sets(rows.x, moves)
        loss = np.asarray(_losses(key, problem, state, jnp.asarray(rows.scaled(tried)), together=together))
        best = int(np.argmax(np.where(np.isfinite(loss), loss, -np.inf)))
        if not loss[best] > before + _RISE * abs(before):
            break
        rows = rows._replace(x=tried[best])
        state = state._replace(rows=replace_free(state.rows, jnp.asarray(rows.scaled(rows.x))))
    return rows.scaled(rows.x)


class Move(NamedTuple):
    """For each row of a batch the exchange that promises most: the row after it [k, m], and the promise [k]."""

    x: np.ndarray
    gain: np.ndarray


def candidates(asked: Domain, rows: Rows, slope: np.ndarray) -> list[Move]:
    """What each row could become by another category or whole number: one apart, and as far as it goes.

    slope: of the target loss by features in their own units [k, m]. A category in place of the one that the row has
    gains the difference of their slopes, a whole number its slope times the distance.
    """
    x, reach = rows.x, asked.move != NOWHERE
    low, high = np.ceil(np.broadcast_to(asked.low, x.shape)), np.floor(np.broadcast_to(asked.high, x.shape))
    low = np.where(asked.move == UP, np.maximum(low, rows.origin), low)
    high = np.where(asked.move == DOWN, np.minimum(high, rows.origin), high)
    whole, category = asked.whole & (asked.group < 0) & reach, (asked.group >= 0) & reach
    gains = np.full(x.shape, -np.inf)
    for places in asked.members():
        own = np.sum(slope[:, places] * x[:, places], axis=1, keepdims=True)
        gains[:, places] = np.where(asked.high[places] > 0, slope[:, places] - own, -np.inf)
    gains = np.where(category, gains, -np.inf)
    found = []
    for near in (True, False):
        end = np.where(slope > 0, high, low)
        wanted = np.clip(x + np.sign(slope), low, high) if near else end
        gain = np.where(whole & (low <= high), slope * (wanted - x), gains)
        gain = np.where(_may_change(asked, rows), gain, -np.inf)
        feature = np.argmax(gain, axis=1)
        moved = np.array(x)
        at = np.arange(len(x))
        for places in asked.members():
            swapped = np.isin(feature, places)
            moved[np.ix_(swapped, places)] = 0
        moved[at, feature] = np.where(asked.group[feature] >= 0, 1, wanted[at, feature])
        promise = gain[at, feature]
        found.append(Move(np.where((promise > 0)[:, None], moved, x), promise))
    return found


def _may_change(asked: Domain, rows: Rows) -> np.ndarray:
    """Which features [k, m] may differ from the origin, where the number of columns that do is limited."""
    if not asked.columns_changed:
        return np.ones(rows.x.shape, bool)
    changed = domain.by_column(asked, (rows.x != rows.origin).astype(float)) > 0
    full = changed.sum(1, keepdims=True) >= asked.columns_changed
    return (changed | ~full)[:, asked.column]


def sets(x: np.ndarray, moves: list[Move]) -> np.ndarray:
    """The batches to try [trials, k, m]: of each kind of move those of the best 2, 4, ... rows and of all, and of
    each of the best rows alone.
    """
    found = []
    for move in moves:
        order = np.argsort(-move.gain, kind="stable")
        sizes = np.unique(np.minimum(2 ** np.arange(1, int(np.ceil(np.log2(max(len(x), 2)))) + 1), len(x)))
        for chosen in (*(order[:size] for size in sizes), *(order[i : i + 1] for i in range(min(_SINGLE, len(x))))):
            tried = np.array(x)
            tried[chosen] = move.x[chosen]
            found.append(tried)
    return np.stack(found)


def _width(problem: StageProblem, m: int) -> int:
    """Outputs of the first layer; where it is not linear, about as many numbers of a row as there are features."""
    if not is_linear_first(problem.objective.model):
        return m
    layers = jax.eval_shape(lambda: problem.objective.init(jax.random.key(0), m))
    return layers[0]["w"].shape[0]


@functools.partial(jax.jit, static_argnames="store")
def _slope(key: Array, problem: StageProblem, state: OuterState, *, store: bool) -> tuple[Array, Array]:
    """The target loss, and its hypergradient for the rows of the batch [k, m]."""
    found = reverse(problem.at(key, state), store)
    return found.loss, found.x


@functools.partial(jax.jit, static_argnames="together")
def _losses(key: Array, problem: StageProblem, state: OuterState, tried: Array, *, together: int) -> Array:
    """The target loss [trials] of the victim trained with each of the batches [trials, k, m]."""

    def one(x: Array) -> Array:
        at = problem.at(key, state._replace(rows=replace_free(state.rows, x)))
        params = fit(at.objective, at.trainer, at.params, at.log_lambda, at.rows)
        return at.objective.clean_loss(params, at.target)

    return jax.lax.map(one, tried, batch_size=together)
