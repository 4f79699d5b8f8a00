"""Where the free rows of an ascent may go: their domain, as a projection in the run's scaled coordinates."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from poisoncli.core import domain
from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Array
from poisoncli.core.domain import DOWN, NOWHERE, UP, Domain

STATIC = {"static": True}
_FAR = -1e6  # what is projected to 0 whatever stands beside it


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Region:
    """What `Domain` allows k free rows, whole numbers and corners of the simplex aside; arrays of one repetition.

    low, high [m]: range; shift, scale [m]: own units = x * scale + shift. origin [k, m]: where the rows started.
    move [m], column [m]: see `Domain`. member [groups, width]: the features of each category column; one that is
    no category, or may not be taken, is not `taken`. place [m]: where a feature stands in `member`, -1: nowhere.
    columns: how many the user's table has; changed: in how many a row may differ from its origin, 0: in all.
    """

    low: Array
    high: Array
    shift: Array
    scale: Array
    origin: Array
    move: Array
    column: Array
    member: Array
    taken: Array
    place: Array
    columns: int = dataclasses.field(metadata=STATIC)
    changed: int = dataclasses.field(metadata=STATIC)

    def free(self, gradient: Array) -> Array:
        """The gradient [k, m] without what the attacker cannot move, which would take of a step's length."""
        return jnp.where(self.move == NOWHERE, jnp.zeros_like(gradient), gradient)

    def project(self, x: Array) -> Array:
        """argmin over the domain of |z - x|^2 for each row of x [k, m]; the columns moved farthest stay changed."""
        low = jnp.where(self.move == UP, jnp.maximum(self.low, self.origin), self.low)
        high = jnp.where(self.move == DOWN, jnp.minimum(self.high, self.origin), self.high)
        found = jnp.clip(x, low, high)
        if self.member.shape[0]:
            corners = self._categories(x)
            found = jnp.where(self.place >= 0, corners[:, jnp.maximum(self.place, 0)], found)
        found = jnp.where(self.move == NOWHERE, self.origin, found)
        if not 0 < self.changed < self.columns:
            return found
        away = jax.ops.segment_sum(((found - self.origin) ** 2).T, self.column, self.columns).T
        _, most = jax.lax.top_k(away, self.changed)
        kept = jnp.any(most[:, :, None] == self.column[None, None], axis=1)
        return jnp.where(kept, found, self.origin)

    def _categories(self, x: Array) -> Array:
        """The features of all category columns [k, groups * width], projected onto their simplexes."""
        own = (x * self.scale + self.shift)[:, self.member]
        found = _EVERY(jnp.where(self.taken, own, _FAR))
        scaled = (found - self.shift[self.member]) / self.scale[self.member]
        return scaled.reshape(len(x), -1)


_EVERY = jax.vmap(jax.vmap(optax.projections.projection_simplex))  # of rows, and of the category columns of each


def regions(problem: Problem, poison: Poison, group: slice, batch: slice) -> Region | None:
    """The region of a batch of poison rows for each repetition of a group, arrays with a leading repetition axis.

    None where the data set has no domain; then low and high of the `Threat` alone bind the attacker.
    """
    if problem.threat.domain is None or batch.start == batch.stop:
        return None
    own = [
        _region(problem, problem.threat.domain.of(r), r, poison.replaced[r, batch])
        for r in range(group.start, group.stop)
    ]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *own)


def _region(problem: Problem, asked: Domain, r: int, replaced: np.ndarray) -> Region:
    """That of the rows that replace the training rows `replaced` of repetition r."""
    m, kind = len(asked.group), problem.train.x.dtype
    shift, scale = (np.broadcast_to(part, (len(problem.train.y), m))[r].astype(float) for part in problem.units[:2])
    clean = np.asarray(problem.train.x[r])[replaced]
    members = asked.members()
    width = max(map(len, members), default=0)
    member = np.array([np.resize(places, width) for places in members], int).reshape(len(members), width)
    real = np.array([np.arange(width) < len(places) for places in members], bool).reshape(member.shape)
    place = np.full(m, -1)
    place[member[real]] = np.flatnonzero(real)
    values = (
        *((end - shift) / scale for end in (asked.low, asked.high)),
        *(shift, scale),
        (domain.start(asked, clean * scale + shift) - shift) / scale,
    )
    return Region(
        *(jnp.asarray(value, kind) for value in values),
        move=jnp.asarray(asked.move),
        column=jnp.asarray(asked.column),
        member=jnp.asarray(member),
        taken=jnp.asarray(real & (asked.high[member] > 0)),
        place=jnp.asarray(place),
        columns=len(asked.names),
        changed=asked.columns_changed,
    )
