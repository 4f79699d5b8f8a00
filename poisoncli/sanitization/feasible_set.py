"""Convex sets that poison must stay in, projection onto them and linear maximization over them.

A set is what a defense lets pass (KSL sections 2.2 and 3.3), for each of `p` points its own:

    low <= x <= high,   energy(x) - 2 <x, center> + |center|^2 <= radius^2,   rows @ x <= bounds

with energy(x) = |x|^2 (the L2 defense), or for integer features the expected energy after randomized rounding,
sum_i max_k (2k + 1) x_i - k (k + 1) (KSL eqs. 6-8). Slab, loss under a decoy and support vectors are rows.

Both problems are solved by their duals: one multiplier for the ball and one for each row, five scalars at most,
by Newton's method with projection onto z >= 0. For given multipliers the best x is known coordinate by coordinate.
Linear maximization is a short sequence of such problems (the proximal point method). Every solution carries its
primal-dual gap and its violation of the set.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from poisoncli.core.errors import FailedError

TOLERANCE = 1e-8  # of multipliers' gradients, relative to the scale of the set
_NEWTON = 80  # steps for one problem, at most
_PROXIMAL = 40  # problems for one linear maximization, at most


class FeasibleSet(NamedTuple):
    """A convex set for each of p points.

    low, high: box, scalars or [d]; high may be inf. For integer features low is 0 and high whole.
    center [p, d], radius [p]: the ball, or its envelope for `integer` features; radius inf: none.
    rows [p, j, d], bounds [p, j]: half-spaces; a bound of inf: none.
    """

    low: np.ndarray
    high: np.ndarray
    center: np.ndarray
    radius: np.ndarray
    rows: np.ndarray
    bounds: np.ndarray
    integer: bool = False

    def pick(self, points: np.ndarray) -> FeasibleSet:
        """The sets of some of the points."""
        return self._replace(
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


def rounded_energy(x: np.ndarray) -> np.ndarray:
    """The expectation of |x|^2 [p] after randomized rounding (KSL eq. 6)."""
    k = np.floor(x)
    return np.sum((2 * k + 1) * x - k * (k + 1), axis=1)


def violation(feasible: FeasibleSet, x: np.ndarray) -> np.ndarray:
    """How far x [p, d] is outside the set [p]: the largest excess over a bound; 0 inside.

    Units are those of the features: rows are taken as unit vectors, the ball as its radius.
    """
    box = np.maximum(feasible.low - x, x - feasible.high).max(axis=1)
    inside = np.maximum(_squared(feasible, x), 0)
    ball = np.where(np.isinf(feasible.radius), -np.inf, np.sqrt(inside) - feasible.radius)
    norms = np.maximum(np.linalg.norm(feasible.rows, axis=2), 1e-300)
    rows = (_apply(feasible.rows, x) - feasible.bounds) / norms
    return np.maximum(np.maximum(box, ball), rows.max(axis=1, initial=-np.inf)).clip(0)


def project(feasible: FeasibleSet, points: np.ndarray, start: np.ndarray | None = None) -> Solution:
    """argmin over x in the set of 1/2 |x - points|^2, for points [p, d].

    start: multipliers of an earlier solution. Raises `FailedError` if a set is empty or Newton does not converge.
    """
    points = np.asarray(points, float)
    problem = _problem(feasible, np.zeros_like(points))
    rho = np.ones(len(points))
    z, x = _ascend(problem, points, rho, _start(problem, start), "projection")
    value = 0.5 * np.sum((x - points) ** 2, axis=1)
    bound = _evaluate(problem, points, rho, z).value
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
    problem = _problem(feasible, -gain / scale[:, None])
    z = _start(problem, start)
    if start is None:
        z[:, 0] = np.where(problem.on[:, 0], 0.3, 0)  # near what a ball alone would have
    x = np.clip(feasible.center if near is None else near, feasible.low, feasible.high)
    size = np.where(np.isinf(feasible.radius), np.sqrt(x.shape[1]), feasible.radius)
    rho = 0.1 / size
    value, gap = np.zeros(len(x)), np.full(len(x), np.inf)
    left = np.arange(len(x))
    for _ in range(_PROXIMAL):
        part = problem.pick(left)
        z[left], x[left] = _ascend(part, x[left], rho[left], z[left], "linear maximization")
        value[left] = np.sum(part.cost * x[left], axis=1)
        gap[left] = value[left] - _linear_bound(part, z[left])
        left = left[~(np.abs(gap[left]) <= 1e-9 * (size[left] + np.abs(value[left])))]
        if not len(left):
            break
        rho[left] *= 0.2
    return Solution(x, -value * scale, np.maximum(gap, 0) * scale, violation(feasible, x), z)


class _Problem(NamedTuple):
    """min rho/2 |x - anchor|^2 + <cost, x> over a region whose constraints have unit scale; m = 1 + j of them.

    weight [p]: 1 / (2 radius), the scale of the ball's constraint. on [p, m]: which constraints there are.
    """

    feasible: FeasibleSet
    cost: np.ndarray
    weight: np.ndarray
    on: np.ndarray

    def pick(self, points: np.ndarray) -> _Problem:
        return _Problem(self.feasible.pick(points), self.cost[points], self.weight[points], self.on[points])


class _Point(NamedTuple):
    """The dual at multipliers z: value [p], gradient [p, m], minimizer x [p, d], which coordinates move [p, d]."""

    value: np.ndarray
    gradient: np.ndarray
    x: np.ndarray
    free: np.ndarray


def _problem(feasible: FeasibleSet, cost: np.ndarray) -> _Problem:
    ball = np.isfinite(feasible.radius)
    norms = np.maximum(np.linalg.norm(feasible.rows, axis=2), 1e-300)
    rows = np.isfinite(feasible.bounds)
    unit = feasible._replace(
        rows=feasible.rows / norms[:, :, None], bounds=np.where(rows, feasible.bounds, 0) / norms
    )
    weight = np.where(ball, 0.5 / np.where(ball, np.maximum(feasible.radius, 1e-12), 1), 0)
    return _Problem(unit, cost, weight, np.concatenate([ball[:, None], rows], axis=1))


def _start(problem: _Problem, start: np.ndarray | None) -> np.ndarray:
    z = np.zeros(problem.on.shape) if start is None else np.array(start, float)
    return np.where(problem.on, z, 0.0)


def _apply(rows: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.matmul(rows, x[:, :, None])[:, :, 0]


def _squared(feasible: FeasibleSet, x: np.ndarray) -> np.ndarray:
    """Squared distance to the center, expected after rounding where the features are integer [p]."""
    if not feasible.integer:
        away = x - feasible.center
        return np.einsum("pd,pd->p", away, away)
    inner = np.einsum("pd,pd->p", x, feasible.center)
    return rounded_energy(x) - 2 * inner + np.einsum("pd,pd->p", feasible.center, feasible.center)


def _constraints(problem: _Problem, x: np.ndarray) -> np.ndarray:
    """Left side minus right side of every constraint [p, m], 0 where there is none."""
    feasible = problem.feasible
    radius = np.where(np.isfinite(feasible.radius), feasible.radius, 0)
    ball = problem.weight * (_squared(feasible, x) - radius**2)
    rows = _apply(feasible.rows, x) - feasible.bounds
    return np.where(problem.on, np.concatenate([ball[:, None], rows], axis=1), 0.0)


def _pull(problem: _Problem, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Multiplier of the squared distance [p, 1], and the linear term that z adds to -cost [p, d]."""
    feasible = problem.feasible
    nu = (z[:, 0] * problem.weight)[:, None]
    q = 2 * nu * feasible.center
    q -= problem.cost
    if feasible.rows.shape[1]:
        q -= np.matmul(np.ascontiguousarray(z[:, None, 1:]), feasible.rows)[:, 0]
    return nu, q


def _evaluate(problem: _Problem, anchor: np.ndarray, rho: np.ndarray, z: np.ndarray) -> _Point:
    feasible = problem.feasible
    nu, q = _pull(problem, z)
    stiff = rho[:, None]
    q += stiff * anchor
    if feasible.integer:
        k = np.rint(q / (stiff + 2 * nu))
        rest = q - (stiff + 2 * nu) * k
        move = rest - np.clip(rest, -nu, nu)
        raw = k + move / stiff
        x = np.clip(raw, feasible.low, feasible.high)
        free = (move != 0) & (x == raw)
    else:
        raw = q / (stiff + 2 * nu)
        x = np.clip(raw, feasible.low, feasible.high)
        free = x == raw
    gradient = _constraints(problem, x)
    away = x - anchor
    value = (
        0.5 * rho * np.einsum("pd,pd->p", away, away)
        + np.einsum("pd,pd->p", problem.cost, x)
        + np.sum(z * gradient, axis=1)
    )
    return _Point(value, gradient, x, free)


def _curvature(problem: _Problem, rho: np.ndarray, z: np.ndarray, at: _Point) -> np.ndarray:
    """Minus the generalized Hessian of the dual [p, m, m]."""
    feasible = problem.feasible
    nu = z[:, 0] * problem.weight
    slope = (np.floor(at.x) + 0.5 if feasible.integer else at.x) - feasible.center
    normals = np.empty((len(z), problem.on.shape[1], slope.shape[1]))
    np.multiply(slope, 2 * problem.weight[:, None], out=normals[:, 0])
    normals[:, 1:] = feasible.rows
    normals *= at.free[:, None]
    stiff = rho if feasible.integer else rho + 2 * nu
    on = problem.on / np.sqrt(stiff)[:, None]
    return np.matmul(normals, np.swapaxes(normals, 1, 2)) * on[:, :, None] * on[:, None]


def _ascend(
    problem: _Problem, anchor: np.ndarray, rho: np.ndarray, z: np.ndarray, what: str
) -> tuple[np.ndarray, np.ndarray]:
    """Maximize the dual from z [p, m]; returns the multipliers and x [p, d]."""
    z = z.copy()
    x = np.empty_like(anchor)
    left = np.arange(len(z))
    at = _evaluate(problem, anchor, rho, z)
    damping = np.full(len(z), 1e-9)
    part = problem
    for _ in range(_NEWTON):
        held = (z[left] <= 0) & (at.gradient <= 0)
        push = np.where(held, 0.0, at.gradient)
        size = 1 + np.abs(z[left]).max(axis=1)
        norm = np.sqrt(np.einsum("pd,pd->p", at.x, at.x))
        going = np.abs(push).max(axis=1) > TOLERANCE * np.maximum(1, norm)
        if not going.all():
            x[left[~going]] = at.x[~going]
            if not going.any():
                return z, x
            left, push, held, size = left[going], push[going], held[going], size[going]
            at, part = _Point(*(a[going] for a in at)), problem.pick(left)
        h = _curvature(part, rho[left], z[left], at)
        h = np.where(held[:, :, None] | held[:, None, :], 0.0, h)
        ridge = damping[left] * (1 / rho[left])
        eye = np.eye(h.shape[1])
        step = np.linalg.solve(h + (ridge[:, None] + held)[:, :, None] * eye, push[:, :, None])[:, :, 0]
        limit = 1e3 * size / np.maximum(np.abs(step).max(axis=1), 1e-300)
        step *= np.minimum(1, limit)[:, None]
        z[left], at, worked = _search(part, anchor[left], rho[left], z[left], at, step)
        damping[left] = np.where(
            worked, np.maximum(damping[left] / 10, 1e-12), np.minimum(damping[left] * 100, 1e3)
        )
        _check_empty(part, z[left])
    x[left] = at.x
    excess = np.abs(np.where((z[left] <= 0) & (at.gradient <= 0), 0.0, at.gradient)).max()
    if excess > 1e-5 * (1 + np.linalg.norm(at.x, axis=1).max()):
        raise FailedError(f"the {what} on the feasible set did not converge (excess {excess:.2g}): widen the set")
    return z, x


def _search(
    problem: _Problem, anchor: np.ndarray, rho: np.ndarray, z: np.ndarray, at: _Point, step: np.ndarray
) -> tuple[np.ndarray, _Point, np.ndarray]:
    """Backtrack along `step` until the dual rises enough; where it never does, stay. Third: where soon."""
    best, point = z, at
    length, left, worked = np.ones(len(z)), np.arange(len(z)), np.zeros(len(z), bool)
    part = problem
    for attempt in range(30):
        trial = np.maximum(z[left] + length[left, None] * step[left], 0)
        found = _evaluate(part, anchor[left], rho[left], trial)
        rise = np.sum(at.gradient[left] * (trial - z[left]), axis=1)
        slack = 1e-14 * (1 + np.abs(at.value[left]))
        good = found.value >= at.value[left] + 1e-4 * rise - slack
        if attempt == 0:
            if good.all():
                return trial, found, ~worked
            best, point = z.copy(), _Point(*(a.copy() for a in at))
        taken = left[good]
        best[taken] = trial[good]
        for mine, new in zip(point, found, strict=True):
            mine[taken] = new[good]
        worked[taken] = attempt <= 1
        left = left[~good]
        if not len(left):
            break
        part = problem.pick(left)
        length[left] *= 0.35
    return best, point, worked


def _linear_bound(problem: _Problem, z: np.ndarray) -> np.ndarray:
    """The dual of min <cost, x> at z [p]: no point of the set is lower."""
    nu, q = _pull(problem, z)
    x = _vertex(problem.feasible, nu, q)
    return np.sum(problem.cost * x, axis=1) + np.sum(z * _constraints(problem, x), axis=1)


def _vertex(feasible: FeasibleSet, nu: np.ndarray, q: np.ndarray) -> np.ndarray:
    """argmin over the box of nu energy(x) - <q, x> [p, d]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        raw = q / (2 * nu)
    raw = np.where(np.isnan(raw), 0, raw)
    x = np.clip(np.rint(raw) if feasible.integer else raw, feasible.low, feasible.high)
    if np.all(np.isfinite(x)):
        return x
    return np.where(np.isfinite(x), x, np.sign(x) * 1e12)


def _check_empty(problem: _Problem, z: np.ndarray) -> None:
    """Raise `FailedError` where z proves that no x satisfies all constraints (Farkas)."""
    size = np.abs(z).max(axis=1)
    large = np.flatnonzero(size > 1e2)
    if not len(large):
        return
    part = problem.pick(large)
    ray = z[large] / size[large, None]
    least = -_linear_ray(part, ray)
    if np.any(least > 1e-9):
        raise FailedError(
            "the feasible set is empty (its ball, slab, loss and box have no point in common): raise the radius "
            "or the loss cap, or give up a defense"
        )


def _linear_ray(problem: _Problem, z: np.ndarray) -> np.ndarray:
    """Minus the least value over the box of the sum of z times the constraints [p]."""
    nothing = problem._replace(cost=np.zeros_like(problem.cost))
    return -_linear_bound(nothing, z)
