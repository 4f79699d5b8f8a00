"""The dual: its gradient and its curvature, and sets that are empty."""

import numpy as np
import pytest
from feasible_regions import D, region

from poisoncli.core.errors import FailedError
from poisoncli.sanitization import dual
from poisoncli.sanitization.dual import ascend, dual_problem, evaluate, linear_bound, start_from
from poisoncli.sanitization.feasible_set import violation
from poisoncli.sanitization.projection import maximize, project


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


@pytest.mark.parametrize("kind", ["slab", "all"])
def test_the_gradient_and_the_curvature_are_those_of_the_dual(kind):
    """Against difference quotients, where features are not whole and the dual is smooth."""
    sets, rng = region(2, kind, False), np.random.default_rng(3)
    problem = dual_problem(sets, np.zeros((2, D)))
    anchor, rho = rng.normal(size=(2, D)), np.array([1.0, 0.5])
    z = 0.2 + rng.random(problem.on.shape)
    at = evaluate(problem, anchor, rho, z)
    hessian = dual._curvature(problem, rho, z, at)
    for j in range(z.shape[1]):
        step = np.zeros_like(z)
        step[:, j] = 1e-6
        up, down = (evaluate(problem, anchor, rho, z + sign * step) for sign in (1, -1))
        np.testing.assert_allclose(at.gradient[:, j], (up.value - down.value) / 2e-6, atol=1e-6)
        np.testing.assert_allclose(hessian[:, j], -(up.gradient - down.gradient) / 2e-6, atol=1e-5)


def test_what_it_finds_is_where_no_multiplier_can_rise():
    sets, rng = region(4, "all", False), np.random.default_rng(1)
    problem = dual_problem(sets, np.zeros((2, D)))
    anchor, rho = 4 * rng.normal(size=(2, D)), np.ones(2)
    z, x = ascend(problem, anchor, rho, np.zeros(problem.on.shape), "projection")
    gradient = evaluate(problem, anchor, rho, z).gradient
    assert np.all(z >= 0)
    assert np.all(gradient <= 1e-6)
    np.testing.assert_allclose(gradient[z > 0], 0, atol=1e-6)  # complementary slackness
    assert violation(sets, x).max() <= 1e-6


def test_a_point_is_found_alike_whatever_others_are_there():
    sets, anchor = region(2, "all", True), np.random.default_rng(0).normal(size=(2, D)) * 3
    problem, rho = dual_problem(sets, np.zeros((2, D))), np.ones(2)
    z, x = ascend(problem, anchor, rho, start_from(problem, None), "projection")
    for i in (0, 1):
        one = problem.pick(np.array([i]))
        alone = ascend(one, anchor[i : i + 1], rho[i : i + 1], start_from(one, None), "projection")
        np.testing.assert_array_equal(z[i : i + 1], alone[0])
        np.testing.assert_array_equal(x[i : i + 1], alone[1])


def test_the_dual_is_no_higher_than_the_objective():
    sets, rng = region(4, "all", False), np.random.default_rng(1)
    cost, inside = rng.normal(size=(2, D)), project(sets, rng.normal(size=(2, D))).x
    problem = dual_problem(sets, cost)
    for _ in range(5):
        z = start_from(problem, rng.random(problem.on.shape))
        assert np.all(linear_bound(problem, z) <= np.sum(cost * inside, axis=1) + 1e-9)
        anchor, rho = rng.normal(size=(2, D)), np.full(2, 0.7)
        objective = np.sum(cost * inside, axis=1) + 0.35 * np.sum((inside - anchor) ** 2, axis=1)
        assert np.all(evaluate(problem, anchor, rho, z).value <= objective + 1e-9)


def test_sets_that_are_empty_can_be_told_apart_from_others():
    sets = region(1, "ball", False)
    apart = sets.cut(np.ones((2, 1, D)), np.array([[1e3], [-1e3]]))  # the box starts at 0
    with pytest.raises(FailedError, match="empty"):
        project(apart, apart.center)
    for found in (project(apart, apart.center, lenient=True), maximize(apart, np.ones((2, D)), lenient=True)):
        assert found.found.tolist() == [True, False]
        assert np.all(found.violation[:1] < 1e-6)
