"""Projection onto feasible sets, and linear maximization over them.

Both are solved by their duals (`dual`). Linear maximization is a short sequence of projections (the proximal point
method). Every solution carries its primal-dual gap and its violation of the set.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from poisoncli.sanitization.dual import ascend, dual_problem, evaluate, first_multipliers, linear_bound
from poisoncli.sanitization.feasible_set import FeasibleSet, violation

_PROXIMAL = 40  # problems for one linear maximization, at most


class Solution(NamedTuple):
    """The best points found, with certificates.

    x: [p, d]. value: the objective at x [p]; gap: how much better any point of the set could be, at most [p].
    violation: how far x is outside [p], in units of the features. multipliers: [p, 1 + j], to start from.
    """

    x: np.ndarray
    value: np.ndarray
    gap: np.ndarray
    violation: np.ndarray
    multipliers: np.ndarray


def project(feasible: FeasibleSet, points: np.ndarray, start: np.ndarray | None = None) -> Solution:
    """argmin over x in the set of 1/2 |x - points|^2, for points [p, d].

    start: multipliers of an earlier solution. Raises `FailedError` if a set is empty or Newton does not converge.
    """
    points = np.asarray(points, float)
    problem = dual_problem(feasible, np.zeros_like(points))
    rho = np.ones(len(points))
    z, x = ascend(problem, points, rho, first_multipliers(problem, start), "projection")
    value = 0.5 * np.sum((x - points) ** 2, axis=1)
    bound = evaluate(problem, points, rho, z).value
    return Solution(x, value, np.maximum(value - bound, 0), violation(feasible, x), z)


def maximize(
    feasible: FeasibleSet, gain: np.ndarray, start: np.ndarray | None = None, near: np.ndarray | None = None
) -> Solution:
    """argmax over x in the set of <gain, x>, for gain [p, d].

    start: multipliers, near: points [p, d] of an earlier solution, both only to save time.
    Raises `FailedError` if a set is empty or unbounded, or the iteration does not converge.
    """
    gain = np.asarray(gain, float)
    scale = np.maximum(np.linalg.norm(gain, axis=1), 1e-300)
    problem = dual_problem(feasible, -gain / scale[:, None])
    z = first_multipliers(problem, start)
    if start is None:
        z[:, 0] = np.where(problem.on[:, 0], 0.3, 0)  # near what a ball alone would have
    x = np.clip(feasible.center if near is None else near, feasible.low, feasible.high)
    size = np.where(np.isinf(feasible.radius), np.sqrt(x.shape[1]), feasible.radius)
    rho = 0.1 / size
    value, gap = np.zeros(len(x)), np.full(len(x), np.inf)
    left = np.arange(len(x))
    for _ in range(_PROXIMAL):
        part = problem.pick(left)
        z[left], x[left] = ascend(part, x[left], rho[left], z[left], "linear maximization")
        value[left] = np.sum(part.cost * x[left], axis=1)
        gap[left] = value[left] - linear_bound(part, z[left])
        left = left[~(np.abs(gap[left]) <= 1e-9 * (size[left] + np.abs(value[left])))]
        if not len(left):
            break
        rho[left] *= 0.2
    return Solution(x, -value * scale, np.maximum(gap, 0) * scale, violation(feasible, x), z)
