"""Mini-batches: the training rows grouped by the step that sees them, so that a step costs its own rows alone.

All batches of a pass are known before the training: they follow one fixed random order of the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.core.data import Array
from poisoncli.core.victim import Block, Rows, Trainer
from poisoncli.training.layout import all_columns
from poisoncli.training.trainers import batches_of


def members(n: int, size: int) -> np.ndarray:
    """The rows of each batch [batches, size] in their order; the last batch is filled up with -1."""
    batch = np.random.default_rng(0).permutation(n) // size
    order = np.argsort(batch, kind="stable")
    return np.pad(order, (0, -n % size), constant_values=-1).reshape(-1, size)


def rows_of_step(rows: Rows, trainer: Trainer) -> Callable[[Array], Rows]:
    """The rows that a training step sees, as a function of its number: all of them, or those of its mini-batch.

    A step on a batch all of whose rows have weight 0 has no gradient: see `descent.step_gradient`.
    """
    n = rows.y.shape[-1]
    batches = batches_of(trainer, n)
    if batches == 1:
        return lambda t: rows
    chosen = members(n, trainer.size)
    x = jnp.concatenate([all_columns(block, rows.blocks[-1].x.shape[1]) for block in rows.blocks])[chosen]
    weight = jnp.where(chosen >= 0, rows.weight[chosen], jnp.zeros((), rows.weight.dtype))
    grouped = Rows((Block(x, jnp.swapaxes(x, 1, 2), None),), rows.y[chosen], weight)

    def of_step(t: Array) -> Rows:
        at = t % batches
        block, y, weight = grouped.blocks[0], grouped.y, grouped.weight
        x, xt = (jax.lax.dynamic_index_in_dim(leaf, at, keepdims=False) for leaf in (block.x, block.xt))
        y, weight = (jax.lax.dynamic_index_in_dim(leaf, at, keepdims=False) for leaf in (y, weight))
        return Rows((Block(x, xt, None),), y, weight)

    return of_step


class FreeRows(NamedTuple):
    """Where the last `free` of n rows stand in the batches of `members`.

    position: of each free row within its batch, batch: its batch, slot: its number among the free rows there, all
    [free]; table: position of each slot [batches, slots], 0 where a batch has fewer free rows.
    """

    position: np.ndarray
    batch: np.ndarray
    slot: np.ndarray
    table: np.ndarray


def free_places(n: int, size: int, free: int) -> FreeRows:
    """See `FreeRows`."""
    flat = members(n, size).ravel()
    place = np.argsort(np.where(flat < 0, n, flat), kind="stable")[
        n - free : n
    ]  # of row n - free, n - free + 1, ...
    batch, position = np.divmod(place, size)
    slot = np.array([np.sum(batch[:i] == b) for i, b in enumerate(batch)], int)
    table = np.zeros((-(-n // size), int(slot.max()) + 1), int)
    table[batch, slot] = position
    return FreeRows(position, batch, slot, table)
