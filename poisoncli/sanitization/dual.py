"""The dual of projection onto a feasible set, for many points at once.

One multiplier for the ball and one for each row, a few scalars, by Newton's method with projection onto z >= 0
(those of equalities are free). For given multipliers the best x is known coordinate by coordinate. Points do not
know of each other: what is found for one does not depend on which others are there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from poisoncli.core.errors import FailedError
from poisoncli.sanitization.feasible_set import FeasibleSet, apply_rows, rounded_energy, squared_distance

TOLERANCE = 1e-8  # of multipliers' gradients, relative to the scale of the set
_NEWTON = 80  # steps for one problem, at most


class DualProblem(NamedTuple):
    """min rho/2 |x - anchor|^2 + <cost, x> over a region whose constraints have unit scale; m = 1 + j of them.

    weight [p]: 1 / (2 radius), the scale of the ball's constraint. on [p, m]: which constraints there are.
    offset [p]: |center|^2; of all columns, also where the problem is about some of them.
    least [m]: of a multiplier: 0, and -inf of an equality.
    """

    feasible: FeasibleSet
    cost: np.ndarray
    weight: np.ndarray
    on: np.ndarray
    offset: np.ndarray
    least: np.ndarray

    def pick(self, points: np.ndarray) -> DualProblem:
        return DualProblem(
            self.feasible.pick(points),
            self.cost[points],
            self.weight[points],
            self.on[points],
            self.offset[points],
            self.least,
        )


class _Point(NamedTuple):
    """The dual at multipliers z: value [p], gradient [p, m], minimizer x [p, d], which coordinates move [p, d]."""

    value: np.ndarray
    gradient: np.ndarray
    x: np.ndarray
    free: np.ndarray


def dual_problem(feasible: FeasibleSet, cost: np.ndarray) -> DualProblem:
    """The problem over a feasible set, its half-spaces scaled to unit normals."""
    ball = np.isfinite(feasible.radius)
    norms = np.maximum(np.linalg.norm(feasible.rows, axis=2), 1e-300)
    rows = np.isfinite(feasible.bounds)
    unit = feasible._replace(
        rows=feasible.rows / norms[:, :, None], bounds=np.where(rows, feasible.bounds, 0) / norms
    )
    weight = np.where(ball, 0.5 / np.where(ball, np.maximum(feasible.radius, 1e-12), 1), 0)
    offset = np.einsum("pd,pd->p", feasible.center, feasible.center)
    on = np.concatenate([ball[:, None], rows], axis=1)
    least = np.zeros(on.shape[1])
    least[1 : 1 + feasible.equal] = -np.inf
    return DualProblem(unit, cost, weight, on, offset, least)


def start_from(problem: DualProblem, start: np.ndarray | None) -> np.ndarray:
    """Multipliers [p, m] to start from: `start`, or zeros; 0 where there is no constraint."""
    z = np.zeros(problem.on.shape) if start is None else np.array(start, float)
    return np.where(problem.on, z, 0.0)


def _squared(problem: DualProblem, x: np.ndarray) -> np.ndarray:
    """Squared distance to the center, see `feasible_set.squared_distance` [p]."""
    if not problem.feasible.integer:
        return squared_distance(problem.feasible, x)
    return rounded_energy(x) - 2 * np.einsum("pd,pd->p", x, problem.feasible.center) + problem.offset


def _constraints(problem: DualProblem, x: np.ndarray) -> np.ndarray:
    """Left side minus right side of every constraint [p, m], 0 where there is none."""
    feasible = problem.feasible
    radius = np.where(np.isfinite(feasible.radius), feasible.radius, 0)
    ball = problem.weight * (_squared(problem, x) - radius**2)
    rows = apply_rows(feasible.rows, x) - feasible.bounds
    return np.where(problem.on, np.concatenate([ball[:, None], rows], axis=1), 0.0)


def pull(problem: DualProblem, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Multiplier of the squared distance [p, 1], and the linear term that z adds to -cost [p, d]."""
    feasible = problem.feasible
    nu = (z[:, 0] * problem.weight)[:, None]
    q = 2 * nu * feasible.center
    q -= problem.cost
    if feasible.rows.shape[1]:
        q -= np.matmul(np.ascontiguousarray(z[:, None, 1:]), feasible.rows)[:, 0]
    return nu, q


def evaluate(problem: DualProblem, anchor: np.ndarray, rho: np.ndarray, z: np.ndarray) -> _Point:
    """The dual of min rho/2 |x - anchor|^2 + <cost, x> at the multipliers z [p, m]."""
    feasible = problem.feasible
    nu, q = pull(problem, z)
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


def _curvature(problem: DualProblem, rho: np.ndarray, z: np.ndarray, at: _Point) -> np.ndarray:
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


def ascend(
    problem: DualProblem, anchor: np.ndarray, rho: np.ndarray, z: np.ndarray, what: str, lenient: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Maximize the dual from z [p, m]; returns the multipliers and x [p, d].

    Raises `FailedError` where a set is empty or Newton does not converge; if `lenient`, x is NaN there.
    """
    z = z.copy()
    x = np.empty_like(anchor)
    left = np.arange(len(z))
    at = evaluate(problem, anchor, rho, z)
    damping = np.full(len(z), 1e-9)
    part = problem
    for _ in range(_NEWTON):
        held = (z[left] <= problem.least) & (at.gradient <= 0)
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
        step = _newton_step(part, rho[left], z[left], at, damping[left], held, push, size)
        z[left], at, worked = _search(part, anchor[left], rho[left], z[left], at, step)
        damping[left] = np.where(
            worked, np.maximum(damping[left] / 10, 1e-12), np.minimum(damping[left] * 100, 1e3)
        )
        empty = _empty(part, z[left])
        if empty.any():
            if not lenient:
                raise FailedError(
                    "the feasible set is empty (its ball, slab, loss and box have no point in common): raise the "
                    "radius or the loss cap, or give up a defense"
                )
            x[left[empty]] = np.nan
            left, at = left[~empty], _Point(*(a[~empty] for a in at))
            if not len(left):
                return z, x
            part = problem.pick(left)
    x[left] = at.x
    excess = np.abs(np.where((z[left] <= problem.least) & (at.gradient <= 0), 0.0, at.gradient)).max(axis=1)
    far = excess > 1e-5 * (1 + np.linalg.norm(at.x, axis=1))
    if far.any() and not lenient:
        worst = excess.max()
        raise FailedError(f"the {what} on the feasible set did not converge (excess {worst:.2g}): widen the set")
    x[left[far]] = np.nan
    return z, x


def _newton_step(
    problem: DualProblem,
    rho: np.ndarray,
    z: np.ndarray,
    at: _Point,
    damping: np.ndarray,
    held: np.ndarray,
    push: np.ndarray,
    size: np.ndarray,
) -> np.ndarray:
    """The damped step [p, m]; multipliers that are `held` at 0 stay there."""
    h = _curvature(problem, rho, z, at)
    h = np.where(held[:, :, None] | held[:, None, :], 0.0, h)
    ridge = damping * (1 / rho)
    step = np.linalg.solve(h + (ridge[:, None] + held)[:, :, None] * np.eye(h.shape[1]), push[:, :, None])[:, :, 0]
    limit = 1e3 * size / np.maximum(np.abs(step).max(axis=1), 1e-300)
    return step * np.minimum(1, limit)[:, None]


def _search(
    problem: DualProblem, anchor: np.ndarray, rho: np.ndarray, z: np.ndarray, at: _Point, step: np.ndarray
) -> tuple[np.ndarray, _Point, np.ndarray]:
    """Backtrack along `step` until the dual rises enough; where it never does, stay. Third: where soon."""
    best, point = z, at
    length, left, worked = np.ones(len(z)), np.arange(len(z)), np.zeros(len(z), bool)
    part = problem
    for attempt in range(30):
        trial = np.maximum(z[left] + length[left, None] * step[left], problem.least)
        found = evaluate(part, anchor[left], rho[left], trial)
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


def linear_bound(problem: DualProblem, z: np.ndarray) -> np.ndarray:
    """The dual of min <cost, x> at z [p]: no point of the set is lower."""
    nu, q = pull(problem, z)
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


def _empty(problem: DualProblem, z: np.ndarray) -> np.ndarray:
    """Where z proves that no x satisfies all constraints (Farkas) [p]."""
    size = np.abs(z).max(axis=1)
    large = np.flatnonzero(size > 1e2)
    found = np.zeros(len(z), bool)
    if len(large):
        ray = z[large] / size[large, None]
        found[large] = -_linear_ray(problem.pick(large), ray) > 1e-9
    return found


def _linear_ray(problem: DualProblem, z: np.ndarray) -> np.ndarray:
    """Minus the least value over the box of the sum of z times the constraints [p]."""
    nothing = problem._replace(cost=np.zeros_like(problem.cost))
    return -linear_bound(nothing, z)
