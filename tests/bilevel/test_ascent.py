"""One step of the ascent: its directions, its box, and what stays where it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import FREE

from poisoncli.bilevel.ascent import Ascent, OuterState, StageProblem, Step, direction, hyperiterations
from poisoncli.bilevel.hypergradient import HypergradientMethod
from poisoncli.training.layout import free_rows
from poisoncli.training.trainers import SGD


@pytest.fixture
def climb(case):
    """Runs hyperiterations on the small problem; returns free rows before and after, and the log_lambdas."""

    def run(
        x_rate=0.3, lambda_rate=0.3, low=0.0, high=1.0, bounds=(-8.0, 8.0), normalize="point", count=3, fall=np.inf
    ):
        problem = case("logistic", "l2")
        rows = problem.rows()
        outer_state = jax.tree.map(lambda leaf: leaf[None, None], OuterState(rows, problem.log_lambda))
        target = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], problem.target)
        step = Step(*map(jnp.asarray, (x_rate, [lambda_rate], fall, low, high, *bounds)))
        after, (loss, log_lambda, _) = hyperiterations(
            jax.random.split(jax.random.key(0), 1),
            StageProblem(problem.objective, SGD(0.1, 5), target, FREE),
            outer_state,
            step,
            jnp.asarray(0),
            ascent=Ascent(normalize, HypergradientMethod(), count),
        )
        assert loss.shape == (1, 1, count)
        assert log_lambda.shape == (1, 1, count, 1)
        others = [block.x[0, 0, :-FREE] for block in (after.rows.blocks[-1], outer_state.rows.blocks[-1])]
        np.testing.assert_array_equal(*others)
        last = after.rows.blocks[-1]
        np.testing.assert_array_equal(last.xt, jnp.swapaxes(last.x, -1, -2))
        return (
            free_rows(rows, FREE),
            last.x[0, 0, -FREE:],
            np.asarray(log_lambda[0, 0, :, 0]),
            np.asarray(loss[0, 0]),
        )

    return run


def test_points_climb_within_the_box(climb):
    before, after, _, loss = climb(x_rate=5.0, lambda_rate=0.0)
    assert loss[-1] > loss[0]
    assert np.all((after >= 0) & (after <= 1))
    assert np.any((after == 0) & (before > 0)) or np.any((after == 1) & (before < 1))


def test_each_feature_keeps_to_its_own_domain(climb):
    low, high = np.linspace(0, 0.3, 64)[None], np.linspace(0.5, 1, 64)[None]
    _, after, _, _ = climb(x_rate=5.0, low=low, high=high)
    assert np.all((after >= low) & (after <= high))


def test_rate_zero_leaves_the_points(climb):
    before, after, log_lambda, _ = climb(x_rate=0.0)
    np.testing.assert_array_equal(after, before)
    assert log_lambda[0] != 0.3


@pytest.mark.parametrize(("bounds", "expected"), [((0.1, 8.0), 0.1), ((-8.0, 0.5), 0.5)])
def test_log_lambda_keeps_its_bounds(climb, bounds, expected):
    _, _, log_lambda, _ = climb(lambda_rate=50.0, bounds=bounds, count=6)
    assert np.all((log_lambda >= bounds[0]) & (log_lambda <= bounds[1]))
    free = climb(lambda_rate=50.0, bounds=(-1e3, 1e3), count=1)[2][0]
    if (free > 0.3) == (expected > 0.3):
        assert log_lambda[0] == expected


def test_learned_log_lambda_moves_by_its_rate(climb):
    moves = np.diff(np.r_[0.3, climb(lambda_rate=0.25)[2]])
    np.testing.assert_allclose(np.abs(moves), 0.25, rtol=1e-12)


@pytest.mark.parametrize("steps", [1, 4, 10])
def test_the_step_of_log_lambda_falls_over_the_last_quarter(climb, steps):
    moves = np.abs(np.diff(np.r_[0.3, climb(lambda_rate=0.25, count=steps, fall=float(steps))[2]]))
    expected = np.interp(
        np.arange(steps), [0, 0.75 * steps, steps], [0.25, 0.25, 0]
    )  # 0 is where the next step would be
    np.testing.assert_allclose(moves, expected, rtol=1e-12)


@pytest.mark.parametrize("bounds", [(-8.0, 8.0), (1.0, 2.0)])
def test_fixed_log_lambda_stays_even_outside_the_bounds(climb, bounds):
    np.testing.assert_array_equal(climb(lambda_rate=0.0, bounds=bounds)[2], 0.3)


@pytest.mark.parametrize("normalize", ["point", "batch", "none"])
def test_directions_have_the_norms_of_their_definitions(strict, normalize):
    gradient = jnp.asarray(np.random.default_rng(0).normal(size=(4, 7)))
    moved = direction(gradient, normalize)
    norms = {
        "point": np.linalg.norm(gradient, axis=1, keepdims=True),
        "batch": np.linalg.norm(gradient),
        "none": 1.0,
    }
    np.testing.assert_allclose(moved * norms[normalize], gradient, rtol=1e-12)


@pytest.mark.parametrize("normalize", ["point", "batch", "none"])
def test_no_gradient_is_no_direction(strict, normalize):
    assert not np.any(direction(jnp.zeros((3, 5)), normalize))


def test_one_compilation_serves_other_rates(climb):
    climb()
    traced = hyperiterations._cache_size()
    climb(x_rate=0.1, lambda_rate=0.0, low=-1.0, fall=3.0)
    assert hyperiterations._cache_size() == traced
