"""The training rows of a stage of a cumulative attack, as an ascent takes them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.bilevel.ascent import OuterState
from poisoncli.bilevel.schedule import Part
from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Array, Data
from poisoncli.core.victim import Block, Rows
from poisoncli.training import devices
from poisoncli.training.layout import compress


class StageSlot(NamedTuple):
    """Where a stage's results belong in a `Poison`.

    entries: of the `Poison` [repetitions, settings]; batch: which of its rows.
    free: the rows to differentiate for, those of the batch; before the first, where none moves, as many as it has.
    """

    entries: np.ndarray
    batch: slice
    free: int


def stage_keys(key: Array, part: Part) -> Array:
    """A key for each repetition of a stage."""
    repetitions = jnp.arange(part.group.start, part.group.stop)
    return jax.vmap(lambda r: jax.random.fold_in(jax.random.fold_in(key, r), part.stage))(repetitions)


def begin_stage(problem: Problem, poison: Poison, part: Part) -> tuple[OuterState, StageSlot]:
    """The training rows of a stage, its batch last, and where that belongs.

    Arrays have leading axes [repetitions, settings], but for the first block of rows, which do not change and
    which all settings share: [repetitions]. Before the first batch only those settings are there that learn.
    """
    x, y, weight = (np.asarray(leaf)[part.group] for leaf in problem.train)
    settings = np.arange(problem.settings) if part.stage else np.flatnonzero(problem.learn)
    entries = np.arange(part.group.start, part.group.stop)[:, None] * problem.settings + settings
    start, stop = (int(poison.counts[max(stage, 0)]) for stage in (part.stage - 1, part.stage))
    free = (stop - start) or int(poison.counts[1])
    slot = StageSlot(entries, slice(start, stop), free)
    # one setting keeps one shape through all stages, and is compiled once; several share what they can
    held = poison.replaced.shape[1] if problem.settings == 1 else max(stop, free)
    slots = np.r_[0 : slot.batch.start, slot.batch.stop : held, slot.batch]
    index = poison.replaced[part.group, :held]
    clean_y = np.take_along_axis(y, index, axis=1)[:, None]
    slot_y = np.where(np.arange(held) < stop, poison.y[entries, :held], clean_y)[..., slots]
    kept = np.stack([np.setdiff1d(np.arange(y.shape[1]), rows) for rows in index])
    last = jnp.asarray(poison.x[entries][:, :, slots])
    kept_y = _for_each(np.take_along_axis(y, kept, axis=1), len(settings))
    weights = np.take_along_axis(weight, np.concatenate([kept, index[:, slots]], axis=1), axis=1)
    rows = Rows(
        (
            compress(np.take_along_axis(x, kept[:, :, None], axis=1)),
            Block(last, jnp.swapaxes(last, -1, -2), None),
        ),
        jnp.asarray(np.concatenate([kept_y, slot_y], axis=2)),
        jnp.asarray(_for_each(weights, len(settings))),
    )
    return OuterState(rows, jnp.asarray(poison.log_lambda[entries, part.stage])), slot


def spread(outer_state: OuterState) -> OuterState:
    """`outer_state` with its repetitions and settings divided among the devices; the rest of a call follows it."""
    shape = outer_state.log_lambda.shape
    settings = shape[1] if len(shape) == 3 else 1
    over = devices.mesh(shape[0], settings)
    if over is None:
        return outer_state
    axes, rows = len(shape) - 1, outer_state.rows
    *shared, last = (
        block._replace(x=devices.spread(block.x, over, own), xt=devices.spread(block.xt, over, own))
        for block, own in zip(rows.blocks, [1] * (len(rows.blocks) - 1) + [axes], strict=True)
    )
    y, weight, log_lambda, memory = (
        devices.spread(leaf, over, axes)
        for leaf in (rows.y, rows.weight, outer_state.log_lambda, outer_state.memory)
    )
    return OuterState(Rows((*shared, last), y, weight), log_lambda, memory)


def poisoned_before(problem: Problem, poison: Poison, part: Part, entries: np.ndarray) -> Data:
    """The training rows with the poison of the earlier stages; arrays have the leading axes of `entries`.

    These are [repetitions], or [repetitions, settings].
    """
    finished = slice(0, int(poison.counts[part.stage - 1]))
    x, y, weight, rows = (np.asarray(leaf)[part.group] for leaf in (*problem.train, poison.replaced[:, finished]))
    if entries.ndim == 2:
        x, y, weight = (np.repeat(leaf[:, None], entries.shape[1], axis=1) for leaf in (x, y, weight))
        rows = rows[:, None]
    x, y = x.copy(), y.copy()
    np.put_along_axis(x, rows[..., None], poison.x[entries, finished], axis=-2)
    np.put_along_axis(y, rows, poison.y[entries, finished], axis=-1)
    return Data(x, y, weight)


def _for_each(values: np.ndarray, settings: int) -> np.ndarray:
    """`values` [repetitions, n] for each setting, [repetitions, settings, n]."""
    return np.repeat(values[:, None], settings, axis=1)


def only_setting(outer_state: OuterState) -> OuterState:
    """`outer_state` of a problem with one setting, without the axis of the settings."""
    *shared, last = outer_state.rows.blocks
    last = Block(last.x[:, 0], last.xt[:, 0], last.columns)
    rows = Rows((*shared, last), outer_state.rows.y[:, 0], outer_state.rows.weight[:, 0])
    return OuterState(rows, outer_state.log_lambda[:, 0])
