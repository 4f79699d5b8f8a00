"""What attacks that add rows have in common."""

import numpy as np
import pytest
from linear_rows import linear_problem
from threadpoolctl import threadpool_info, threadpool_limits

from poisoncli.core.errors import FailedError
from poisoncli.sanitization.additive import (
    SIGNS,
    LinearProblem,
    Rows,
    best_candidates,
    capped,
    damage,
    evading_set,
    rounded,
)
from poisoncli.sanitization.feasible_set import violation
from poisoncli.training.linear import margins, row_loss


def test_an_unreachable_set_is_said(words):
    def craft(numbers):
        return [None for _ in numbers]

    rows = Rows(np.ones((4, 2)), np.array([-1.0, 1, -1, 1]))
    linear_problem = LinearProblem(rows, rows, 2, 0.1, "hinge", "free", np.array(0.0), np.array(1.0), False)
    with pytest.raises(FailedError, match="within the feasible set"):
        list(best_candidates(linear_problem, 3, craft))


def test_candidates_are_crafted_with_one_blas_thread_each():
    def threads():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    def craft(numbers):
        seen.append(threads())
        return [None for _ in numbers]

    seen: list[set[int]] = []
    rows = Rows(np.eye(4), np.array([-1.0, -1.0, 1.0, 1.0]))
    linear = LinearProblem(rows, rows, 1, 0.1, "hinge", "free", -np.inf, np.inf, False)
    with threadpool_limits(2, user_api="blas"):
        with pytest.raises(FailedError, match="no poison was found"):
            list(best_candidates(linear, 2, craft))
        assert threads() == {2}
    assert seen == [{1}, {1}]  # two groups of one


def test_rounding_keeps_the_mean_repeats_and_is_seeded():
    x = np.array([0.25, 1.5, 2.0])
    rounded_poison = rounded(x, 40_000, 2, True, np.random.default_rng(0))
    np.testing.assert_allclose(rounded_poison.mean(0), x, atol=0.02)
    np.testing.assert_array_equal(rounded_poison[::2], rounded_poison[1::2])
    np.testing.assert_array_equal(rounded_poison, rounded(x, 40_000, 2, True, np.random.default_rng(0)))
    assert np.all(rounded_poison % 1 == 0)
    assert len(rounded(x, 5, 2, True, np.random.default_rng(0))) == 5


@pytest.mark.parametrize("integer", [False, True])
def test_the_evading_set_is_what_the_defenses_let_pass(integer):
    problem = linear_problem(integer=integer)
    clean = problem.clean
    feasible = evading_set(problem, ("l2", "slab"), 0.9)._replace(integer=False)
    inside = violation(feasible.pick((clean.y > 0).astype(int)), clean.x.astype(float)) <= 1e-9
    assert 0.75 <= inside.mean() <= 0.9


def test_a_loss_cap_bounds_the_loss_under_the_decoy():
    problem = linear_problem()
    theta = problem.train(problem.clean)
    feasible = capped(evading_set(problem), theta, np.array([0.4, 0.2]))
    for i, (sign, cap) in enumerate(zip(SIGNS, (0.4, 0.2), strict=True)):
        x = np.random.default_rng(0).normal(size=(200, 6)) * 2
        loss = row_loss(margins(theta, x, np.full(200, sign)))
        only = feasible._replace(
            radius=np.full(2, np.inf), bounds=np.where([[0, 0, 1]] * 2, feasible.bounds, np.inf)
        )
        inside = violation(only.pick(np.full(200, i)), x) <= 1e-12
        np.testing.assert_array_equal(inside, loss <= cap)


def test_damage_stops_once_it_cannot_win():
    problem = linear_problem()
    poison = Rows(-problem.clean.x[:12], problem.clean.y[:12])
    whole = damage(problem, poison, problem.defenses)
    assert damage(problem, poison, problem.defenses, floor=0.9) >= whole
    assert damage(problem, poison, problem.defenses, floor=whole - 1e-9) == whole


def test_the_best_so_far_is_told_before_all_candidates_are_crafted():
    """A search of minutes that is killed then loses one round of candidates, and not all."""
    linear, crafted = linear_problem(), []

    def craft(numbers):
        crafted.extend(numbers)
        return [Rows(linear.clean.x[:12] + 0.1 * number, -linear.clean.y[:12]) for number in numbers]

    steps = best_candidates(linear, 40, craft, at_once=10)
    first = next(steps)
    assert sorted(crafted) == list(range(10))
    assert int(np.sum(~np.isnan(first.trace))) == 8
    last = list(steps)[-1]
    assert sorted(crafted) == list(range(40))
    assert not np.isnan(last.trace).any()
    alone = list(best_candidates(linear, 40, craft))[-1]
    np.testing.assert_array_equal(alone.trace, last.trace)
