"""Projection onto feasible sets, and linear maximization over them, by their duals.

Linear maximization is a short sequence of projections (the proximal point method). Every solution carries its
primal-dual gap and its violation of the set.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from poisoncli.sanitization.dual import DualProblem, ascend, dual_problem, evaluate, linear_bound, pull, start_from
from poisoncli.sanitization.feasible_set import FeasibleSet, violation

_PROXIMAL = 40  # problems for one linear maximization, at most
# columns that a maximization tries, or an eighth of all: with whole numbers the others are 0 at the optimum, mostly
_COLUMNS = 1024
_CHOICES = 3  # of columns, before all are taken
_STIFF, _SOFTER = 0.1, 0.2  # of the proximal term: at first, in units of the set's size, and by what factor then


class Solution(NamedTuple):
    """The best points found, with certificates.

    x: [p, d]. value: the objective at x [p]; gap: how much better any point of the set could be, at most [p].
    violation: how far x is outside [p], in units of the features. multipliers: [p, 1 + j], to start from.
    All are NaN for a point whose set is empty, where that was asked for.
    """

    x: np.ndarray
    value: np.ndarray
    gap: np.ndarray
    violation: np.ndarray
    multipliers: np.ndarray

    @property
    def found(self) -> np.ndarray:
        """Which points were found [p]."""
        return ~np.isnan(self.x[:, 0])


def project(
    feasible: FeasibleSet, points: np.ndarray, start: np.ndarray | None = None, *, lenient: bool = False
) -> Solution:
    """argmin over x in the set of 1/2 |x - points|^2, for points [p, d].

    start: multipliers of an earlier solution. Raises `FailedError` if a set is empty or Newton does not converge;
    if `lenient`, the solution is NaN there.
    """
    points = np.asarray(points, float)
    problem = dual_problem(feasible, np.zeros_like(points))
    rho = np.ones(len(points))
    z, x = ascend(problem, points, rho, start_from(problem, start), "projection", lenient)
    value = 0.5 * np.sum((x - points) ** 2, axis=1)
    bound = evaluate(problem, points, rho, z).value
    return Solution(x, value, np.maximum(value - bound, 0), violation(feasible, x), z)


def maximize(
    feasible: FeasibleSet,
    gain: np.ndarray,
    start: np.ndarray | None = None,
    near: np.ndarray | None = None,
    *,
    lenient: bool = False,
) -> Solution:
    """argmax over x in the set of <gain, x>, for gain [p, d].

    start: multipliers, near: points [p, d] of an earlier solution, both only to save time. Raises `FailedError` if
    a set is empty or unbounded, or the iteration does not converge; if `lenient`, the solution is NaN there.
    """
    gain = np.asarray(gain, float)
    scale = np.maximum(np.linalg.norm(gain, axis=1), 1e-300)
    problem = dual_problem(feasible, -gain / scale[:, None])
    z = start_from(problem, start)
    if start is None:
        z[:, 0] = np.where(problem.on[:, 0], 0.3, 0)  # near what a ball alone would have
    x = np.clip(feasible.center if near is None else near, feasible.low, feasible.high)
    size = np.where(np.isinf(feasible.radius), np.sqrt(x.shape[1]), feasible.radius)
    left = np.arange(len(x))
    value, gap = np.zeros(len(x)), np.full(len(x), np.inf)
    if feasible.integer and start is not None and near is not None and x.shape[1] >= 4 * _COLUMNS:
        tried = _in_few_columns(problem, z, x, size)
        closed = _closed(*tried[2:], size)
        left = left[~closed]
        z, x = (np.where(closed[:, None], new, old) for new, old in zip(tried, (z, x), strict=False))
        value, gap = tried[2:]
    if len(left):
        z[left], x[left], value[left], gap[left] = _proximal(
            problem.pick(left), z[left], x[left], size[left], lenient
        )
    return Solution(x, -value * scale, np.maximum(gap, 0) * scale, violation(feasible, x), z)


def _proximal(
    problem: DualProblem, z: np.ndarray, x: np.ndarray, size: np.ndarray, lenient: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Minimize the cost from z and x on; returns z, x, the least cost [p] and its gap [p]."""
    rho, left = _STIFF / size, np.arange(len(x))
    value, gap = np.zeros(len(x)), np.full(len(x), np.inf)
    for _ in range(_PROXIMAL):
        part = problem.pick(left)
        z[left], x[left] = ascend(part, x[left], rho[left], z[left], "linear maximization", lenient)
        value[left] = np.sum(part.cost * x[left], axis=1)
        gap[left] = value[left] - linear_bound(part, z[left])
        left = left[~_closed(value[left], gap[left], size[left]) & ~np.isnan(value[left])]
        if not len(left):
            break
        rho[left] *= _SOFTER
    return z, x, value, gap


def _closed(value: np.ndarray, gap: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Where the optimum is reached [p]."""
    return np.abs(gap) <= 1e-9 * (size + np.abs(value))


def _in_few_columns(
    problem: DualProblem, z: np.ndarray, x: np.ndarray, size: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """As `_proximal`, with x at 0 in all but the columns that gain most under the multipliers, chosen a few times.

    The gap is that of the whole problem, so that where it is closed the optimum is found.
    """
    z, x, left = z.copy(), x.copy(), np.arange(len(x))
    value, gap = np.zeros(len(x)), np.full(len(x), np.inf)
    for _ in range(_CHOICES):
        z[left], x[left], value[left], gap[left] = _in_chosen_columns(
            problem.pick(left), z[left], x[left], size[left]
        )
        left = left[~_closed(value[left], gap[left], size[left]) & np.isfinite(gap[left])]
        if not len(left):
            break
    return z, x, value, gap


def _in_chosen_columns(
    problem: DualProblem, z: np.ndarray, x: np.ndarray, size: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One choice of columns; where none of its points is feasible, z and x stay and the gap is infinite."""
    nu, q = pull(problem, z)
    order = np.where(x > 0, np.inf, q - nu)
    count = max(_COLUMNS, x.shape[1] // 8)
    columns = np.sort(np.argpartition(-order, count, axis=1)[:, :count], axis=1)
    feasible = problem.feasible
    few = problem._replace(
        feasible=feasible._replace(
            low=np.zeros(()),
            high=np.broadcast_to(feasible.high, x.shape[1])[columns],
            center=np.take_along_axis(feasible.center, columns, axis=1),
            rows=np.take_along_axis(feasible.rows, columns[:, None], axis=2),
        ),
        cost=np.take_along_axis(problem.cost, columns, axis=1),
    )
    multipliers, part, _, _ = _proximal(few, z.copy(), np.take_along_axis(x, columns, axis=1), size, True)
    found = ~np.isnan(part[:, 0])
    whole = np.zeros_like(x)
    np.put_along_axis(whole, columns, part, axis=1)
    z, whole = (np.where(found[:, None], new, old) for new, old in ((multipliers, z), (whole, x)))
    value = np.where(found, np.sum(problem.cost * whole, axis=1), 0.0)
    return z, whole, value, np.where(found, value - linear_bound(problem, z), np.inf)
