"""Where the free rows stand among the rows of each training step."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import jax.numpy as jnp

from poisoncli.core.data import Array
from poisoncli.core.victim import Trainer
from poisoncli.training.minibatches import FreeRows, free_places
from poisoncli.training.trainers import batches_of


class Places(Protocol):
    """Where the free rows stand among the rows of a training step."""

    def pick(self, d: Array, t: Array) -> Array:
        """Of d [rows of step t, width] what belongs to free rows, [k, width] with the same k in each step."""
        ...

    def each(self, d: Array, t: Array) -> Array:
        """Of d [rows of step t, ...] what belongs to each free row [free, ...], 0 where the step misses it."""
        ...

    def total(self, d_h: Array, w: Array, d_vh: Array, v: Array) -> Array:
        """The sum over the steps of d_h^T w + d_vh^T v for each free row, [free, m]; d_h, d_vh from `pick`."""
        ...


class _Last(NamedTuple):
    """They stand last in every step."""

    free: int

    def pick(self, d: Array, t: Array) -> Array:
        return d[-self.free :]

    def each(self, d: Array, t: Array) -> Array:
        return d[-self.free :]

    def total(self, d_h: Array, w: Array, d_vh: Array, v: Array) -> Array:
        return jnp.einsum("tkw,twm->km", d_h, w) + jnp.einsum("tkw,twm->km", d_vh, v)


class _Scattered(NamedTuple):
    """They stand in several mini-batches."""

    at: FreeRows

    def pick(self, d: Array, t: Array) -> Array:
        return d[jnp.asarray(self.at.table)[t % len(self.at.table)]]

    def each(self, d: Array, t: Array) -> Array:
        seen = (self.at.batch == t % len(self.at.table)).reshape(-1, *(1 for _ in d.shape[1:]))
        return jnp.where(seen, d[self.at.position], jnp.zeros((), d.dtype))

    def total(self, d_h: Array, w: Array, d_vh: Array, v: Array) -> Array:
        batches = len(self.at.table)
        missing = -d_h.shape[0] % batches  # steps of the first pass that were not differentiated through

        def by_batch(leaf: Array) -> Array:
            whole = jnp.pad(leaf, ((missing, 0), (0, 0), (0, 0))) if missing else leaf
            return whole.reshape(-1, batches, *leaf.shape[1:])

        d_h, w, d_vh, v = map(by_batch, (d_h, w, d_vh, v))
        sums = jnp.einsum("ebkw,ebwm->bkm", d_h, w) + jnp.einsum("ebkw,ebwm->bkm", d_vh, v)
        return sums[self.at.batch, self.at.slot]


def places_of(trainer: Trainer, n: int, free: int) -> Places:
    """Where the last `free` of n rows stand."""
    return _Last(free) if batches_of(trainer, n) == 1 else _Scattered(free_places(n, trainer.size, free))
