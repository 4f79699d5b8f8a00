"""Convex sets that poison must stay in.

A set is what a defense lets pass (KSL sections 2.2 and 3.3), for each of `p` points its own:

    low <= x <= high,   energy(x) - 2 <x, center> + |center|^2 <= radius^2,   rows @ x <= (or =) bounds

with energy(x) = |x|^2 (the L2 defense), or for integer features the expected energy after randomized rounding,
sum_i max_k (2k + 1) x_i - k (k + 1) (KSL eqs. 6-8). Slab, loss under a decoy and support vectors are rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class FeasibleSet(NamedTuple):
    """A convex set for each of p points.

    low, high: box, scalars, [d] or [p, d]; high may be inf. For integer features low is 0 and high whole.
    center [p, d], radius [p]: the ball, or its envelope for `integer` features; radius inf: none.
    rows [p, j, d], bounds [p, j]: half-spaces; a bound of inf: none.
    equal: how many of them, the first ones, hold with equality: the categories of a column share 1.
    """

    low: np.ndarray
    high: np.ndarray
    center: np.ndarray
    radius: np.ndarray
    rows: np.ndarray
    bounds: np.ndarray
    integer: bool = False
    equal: int = 0

    def pick(self, points: np.ndarray) -> FeasibleSet:
        """The sets of some of the points."""
        return self._replace(
            low=self.low[points] if np.ndim(self.low) == 2 else self.low,
            high=self.high[points] if np.ndim(self.high) == 2 else self.high,
            center=self.center[points],
            radius=self.radius[points],
            rows=self.rows[points],
            bounds=self.bounds[points],
        )

    def cut(self, rows: np.ndarray, bounds: np.ndarray) -> FeasibleSet:
        """Intersect with the half-spaces rows [p, j, d] @ x <= bounds [p, j]."""
        return self._replace(
            rows=np.concatenate([self.rows, rows], axis=1), bounds=np.concatenate([self.bounds, bounds], axis=1)
        )


def joined(sets: Sequence[FeasibleSet]) -> FeasibleSet:
    """The sets of all points of several `FeasibleSet`s with the same box and as many half-spaces, in order."""
    center, radius, rows, bounds = (
        np.concatenate([getattr(one, name) for one in sets]) for name in ("center", "radius", "rows", "bounds")
    )
    return sets[0]._replace(center=center, radius=radius, rows=rows, bounds=bounds)


def rounded_energy(x: np.ndarray) -> np.ndarray:
    """The expectation of |x|^2 [p] after randomized rounding (KSL eq. 6)."""
    k = np.floor(x)
    return np.sum((2 * k + 1) * x - k * (k + 1), axis=1)


def violation(feasible: FeasibleSet, x: np.ndarray) -> np.ndarray:
    """How far x [p, d] is outside the set [p]: the largest excess over a bound; 0 inside.

    Units are those of the features: rows are taken as unit vectors, the ball as its radius.
    """
    box = np.maximum(feasible.low - x, x - feasible.high).max(axis=1)
    inside = np.maximum(squared_distance(feasible, x), 0)
    ball = np.where(np.isinf(feasible.radius), -np.inf, np.sqrt(inside) - feasible.radius)
    norms = np.maximum(np.linalg.norm(feasible.rows, axis=2), 1e-300)
    rows = (apply_rows(feasible.rows, x) - feasible.bounds) / norms
    rows[:, : feasible.equal] = np.abs(rows[:, : feasible.equal])
    return np.maximum(np.maximum(box, ball), rows.max(axis=1, initial=-np.inf)).clip(0)


def apply_rows(rows: np.ndarray, x: np.ndarray) -> np.ndarray:
    """rows [p, j, d] @ x [p, d], for each point [p, j]."""
    return np.matmul(rows, x[:, :, None])[:, :, 0]


def squared_distance(feasible: FeasibleSet, x: np.ndarray) -> np.ndarray:
    """Squared distance to the center, expected after rounding where the features are integer [p]."""
    if not feasible.integer:
        away = x - feasible.center
        return np.einsum("pd,pd->p", away, away)
    inner = np.einsum("pd,pd->p", x, feasible.center)
    return rounded_energy(x) - 2 * inner + np.einsum("pd,pd->p", feasible.center, feasible.center)
