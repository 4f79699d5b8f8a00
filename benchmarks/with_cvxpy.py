"""Projection and linear maximization over the feasible sets of word counts, against CVXPY with Clarabel.

`python -m benchmarks.with_cvxpy` measures d = 5,116, Enron's size. CVXPY is timed twice: its whole call, and what
the solver itself reports, without the translation of the problem. Ours are a few points at once, as in attacks.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from poisoncli.sanitization.feasible_set import FeasibleSet
from poisoncli.sanitization.projection import maximize, project

D, POINTS, ROUNDS = 5116, 4, 5


def region(integer: bool, points: int = POINTS) -> FeasibleSet:
    """Balls round means of word counts, cut by a slab and by the loss under a decoy."""
    rng = np.random.default_rng(0)
    center = rng.gamma(0.05, 0.6, (2, D))[np.arange(points) % 2]
    v = center[1] - center[0]
    side = np.where(np.arange(points) % 2, 1.0, -1.0)
    normal = -side[:, None] * rng.normal(size=D) * 0.05
    middle = center @ v
    rows = np.stack([np.tile(v, (points, 1)), np.tile(-v, (points, 1)), normal], axis=1)
    inner = np.einsum("pd,pd->p", normal, center)
    bounds = np.stack([middle + 2.0, 2.0 - middle, inner - 0.2], axis=1)
    return FeasibleSet(
        np.zeros(1), np.ceil(rng.gamma(0.3, 4.0, D)) + 1, center, np.full(points, 12.0), rows, bounds, integer
    )


def with_cvxpy(sets: FeasibleSet, goal: np.ndarray, task: Callable[..., Any]) -> tuple[float, float, float]:
    """Value, seconds of the whole call, and seconds of the solver, for the first point."""
    import cvxpy as cp

    began = time.perf_counter()
    x, mu = cp.Variable(D), sets.center[0]
    square = cp.sum_squares(x)
    if sets.integer:
        pieces = [(2 * k + 1) * x - k * (k + 1) for k in range(int(sets.high.max()))]
        square = cp.sum(cp.maximum(*pieces))
    limits = [x >= 0, x <= sets.high, sets.rows[0] @ x <= sets.bounds[0]]
    limits.append(square - 2 * x @ mu + mu @ mu <= sets.radius[0] ** 2)
    aim = cp.Minimize(0.5 * cp.sum_squares(x - goal[0])) if task is project else cp.Maximize(goal[0] @ x)
    problem = cp.Problem(aim, limits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem.solve(solver=cp.CLARABEL)
    return float(problem.value), time.perf_counter() - began, float(problem.solver_stats.solve_time)


def main() -> None:
    """Print a line for each set and task."""
    rng = np.random.default_rng(1)
    heads = ("poison ms", "gap", "differs", "CVXPY ms", "times", "solver ms", "times")
    widths = (10, 8, 8, 9, 6, 9, 6)
    print(f"{'d = 5,116':28} " + " ".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True)))
    for integer in (False, True):
        sets = region(integer)
        goal = rng.normal(size=(POINTS, D)) * 0.5
        for task in (project, maximize):
            least = 1e9
            for _ in range(ROUNDS):
                began = time.perf_counter()
                found = task(sets, goal)
                least = min(least, (time.perf_counter() - began) / POINTS)
            value, whole, solver = with_cvxpy(sets, goal, task)
            name = f"{task.__name__}, {'envelope' if integer else 'ball'}"
            differs = abs(found.value[0] - value) / (1 + abs(value))
            print(
                f"{name:28} {1e3 * least:10.2f} {found.gap.max():8.0e} {differs:8.0e} {1e3 * whole:9.0f} "
                f"{whole / least:6.0f} {1e3 * solver:9.0f} {solver / least:6.0f}",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
