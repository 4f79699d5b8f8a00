"""The training rows of a stage of a cumulative attack, as an ascent takes them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.core.ascent import Front
from poisoncli.core.plan import Part
from poisoncli.core.train import Block, Rows, compress
from poisoncli.core.types import Array, Poison, Problem


def stage_keys(key: Array, part: Part) -> Array:
    """A key for each repetition of a stage."""
    repetitions = jnp.arange(part.group.start, part.group.stop)
    return jax.vmap(lambda r: jax.random.fold_in(jax.random.fold_in(key, r), part.stage))(repetitions)


def stage_front(problem: Problem, poison: Poison, part: Part, free: int) -> tuple[Front, slice]:
    """The training rows of a stage, its batch last, and which of the poison rows the batch is.

    The rows that no batch replaces come first, in a block of their own: they never change.
    """
    x, y, weight = (np.asarray(leaf)[part.group] for leaf in problem.train)
    index, stop = poison.replaced[part.group], part.stage * free
    batch = slice(max(stop - free, 0), max(stop, free))
    slots = np.r_[0 : batch.start, batch.stop : index.shape[1], batch]
    clean_y = np.take_along_axis(y, index, axis=1)
    slot_y = np.where(np.arange(index.shape[1]) < stop, poison.y[part.group], clean_y)[:, slots]
    kept = np.stack([np.setdiff1d(np.arange(y.shape[1]), rows) for rows in index])
    last = jnp.asarray(poison.x[part.group][:, slots])
    rows = Rows(
        (
            compress(np.take_along_axis(x, kept[:, :, None], axis=1)),
            Block(last, jnp.swapaxes(last, 1, 2), None),
        ),
        jnp.asarray(np.concatenate([np.take_along_axis(y, kept, axis=1), slot_y], axis=1)),
        jnp.asarray(np.take_along_axis(weight, np.concatenate([kept, index[:, slots]], axis=1), axis=1)),
    )
    return Front(rows, jnp.asarray(poison.log_lambda[part.group, part.stage])), batch
