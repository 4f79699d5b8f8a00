"""Projection and linear maximization against CVXPY."""

import warnings

import numpy as np
import pytest
from feasible_regions import D, region
from hypothesis import given, settings
from hypothesis import strategies as st

from poisoncli.sanitization import projection
from poisoncli.sanitization.feasible_set import FeasibleSet, violation
from poisoncli.sanitization.projection import maximize, project


def cvxpy_best(sets: FeasibleSet, point: int, objective) -> float:
    import cvxpy as cp

    x = cp.Variable(D)
    limits = [x >= sets.low, x <= sets.high]
    mu = sets.center[point]
    if np.isfinite(sets.radius[point]):
        if sets.integer:
            pieces = [(2 * k + 1) * x - k * (k + 1) for k in range(int(sets.high.max()) + 1)]
            square = cp.sum(cp.maximum(*pieces))
        else:
            square = cp.sum_squares(x)
        limits.append(square - 2 * x @ mu + mu @ mu <= sets.radius[point] ** 2)
    if sets.rows.shape[1]:
        limits.append(sets.rows[point] @ x <= sets.bounds[point])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem = cp.Problem(objective(cp, x), limits)
        problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return float(problem.value)


def test_few_columns_give_the_optimum_of_all():
    """Word counts of many rare words: a maximization that starts near looks at some columns, and certifies all."""
    rng = np.random.default_rng(5)
    d = 4 * projection._COLUMNS + 100
    center = rng.gamma(0.05, 0.6, (3, d))
    rows, bounds = rng.normal(size=(3, 1, d)) * 0.1, np.full((3, 1), 0.5)
    sets = FeasibleSet(np.zeros(1), np.ceil(rng.random(d) * 4), center, np.full(3, 9.0), rows, bounds, True)
    gain = rng.normal(size=(3, d))
    first = maximize(sets, gain)
    moved = gain + 0.05 * rng.normal(size=(3, d))
    near, alone = maximize(sets, moved, first.multipliers, first.x), maximize(sets, moved)
    np.testing.assert_allclose(near.value, alone.value, rtol=1e-7)
    assert np.all(near.gap <= 1e-6 * near.value)
    assert np.all(near.violation < 1e-6)


CASES = [(kind, integer) for kind in ("box", "ball", "slab", "decoy", "all") for integer in (False, True)]


@pytest.mark.parametrize(("kind", "integer"), CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_projection_agrees_with_cvxpy(kind, integer, seed):
    pytest.importorskip("cvxpy")
    sets, points = region(seed, kind, integer), np.random.default_rng(seed + 9).normal(size=(2, D)) * 4
    found = project(sets, points)
    for i in range(2):
        best = cvxpy_best(sets, i, lambda cp, x, i=i: cp.Minimize(0.5 * cp.sum_squares(x - points[i])))
        assert found.value[i] == pytest.approx(best, rel=1e-6, abs=1e-6)
    assert np.all(found.gap <= 1e-6 * (1 + found.value))
    assert np.all(found.violation <= 1e-6)


@pytest.mark.parametrize(("kind", "integer"), CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_linear_maximization_agrees_with_cvxpy(kind, integer, seed):
    pytest.importorskip("cvxpy")
    sets, gain = region(seed, kind, integer), np.random.default_rng(seed + 5).normal(size=(2, D))
    found = maximize(sets, gain)
    for i in range(2):
        best = cvxpy_best(sets, i, lambda cp, x, i=i: cp.Maximize(gain[i] @ x))
        assert found.value[i] == pytest.approx(best, rel=1e-6, abs=1e-6)
    assert np.all(found.gap <= 1e-6 * (1 + np.abs(found.value)))
    assert np.all(found.violation <= 1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_the_certificate_bounds_every_feasible_point(seed, integer):
    sets, rng = region(seed % 7, "all", integer), np.random.default_rng(seed)
    gain, other = rng.normal(size=(2, D)), rng.normal(size=(2, D)) * 3
    inside = project(sets, other).x
    found = maximize(sets, gain)
    assert np.all(violation(sets, inside) <= 1e-6)
    assert np.all(np.sum(gain * inside, axis=1) <= found.value + found.gap + 1e-5)


def test_a_start_changes_the_time_and_not_the_result():
    sets, rng = region(3, "all", True), np.random.default_rng(1)
    first = maximize(sets, rng.normal(size=(2, D)))
    gain = rng.normal(size=(2, D))
    cold, warm = maximize(sets, gain), maximize(sets, gain, first.multipliers, first.x)
    np.testing.assert_allclose(warm.value, cold.value, rtol=1e-6)
