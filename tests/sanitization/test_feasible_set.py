"""Projection and linear maximization against CVXPY, and sets that are empty."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poisoncli.core.errors import FailedError
from poisoncli.sanitization.feasible_set import FeasibleSet, maximize, project, rounded_energy, violation

D = 25


def region(seed: int, kind: str, integer: bool) -> FeasibleSet:
    """Two sets like those of word counts: small means, a few constraints that bind."""
    rng = np.random.default_rng(seed)
    center = rng.gamma(0.5, 0.6, (2, D))
    v = center[1] - center[0]
    rows, bounds = np.zeros((2, 0, D)), np.zeros((2, 0))
    if kind in ("slab", "all"):
        middle = center @ v
        rows = np.stack([[v, -v]] * 2)
        bounds = np.stack([middle + 0.5, 0.5 - middle], axis=1)
    if kind in ("decoy", "all"):
        theta = rng.normal(size=(2, 1, D)) * 0.3
        rows = np.concatenate([rows, theta], axis=1)
        bounds = np.concatenate([bounds, np.einsum("pjd,pd->pj", theta, center) - 0.1], axis=1)
    radius = np.full(2, np.inf) if kind == "box" else np.full(2, 4.0)
    high = np.ceil(rng.random(D) * 4 + 1)
    return FeasibleSet(np.zeros(1), high, center, radius, rows, bounds, integer)


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


def test_the_envelope_is_the_mean_energy_after_rounding():
    x = np.array([[0.25, 1.5, 2.0, 0.0]])
    rng = np.random.default_rng(0)
    drawn = np.floor(x) + (rng.random((100_000, 4)) < x - np.floor(x))
    assert rounded_energy(x)[0] == pytest.approx((drawn**2).sum(1).mean(), rel=5e-3)
    assert rounded_energy(x)[0] > (x**2).sum()


@pytest.mark.parametrize("integer", [False, True])
@pytest.mark.parametrize("task", [project, maximize])
def test_an_empty_set_is_said_to_be_empty(task, integer):
    sets = region(0, "slab", integer)
    away = sets.cut(np.ones((2, 1, D)), np.full((2, 1), -1.0))  # the sum of non-negative features is negative
    with pytest.raises(FailedError, match="empty"):
        task(away, np.ones((2, D)))


def test_a_radius_too_small_for_the_box_is_said_to_be_empty():
    sets = region(0, "ball", True)
    far = sets._replace(center=sets.center - 30.0, radius=np.full(2, 1.0))
    with pytest.raises(FailedError, match="empty"):
        project(far, np.ones((2, D)))
