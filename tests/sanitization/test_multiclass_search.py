"""The search among candidates of several classes: what they may be, and by what they are judged."""

import numpy as np
import pytest
from linear_rows import several

from poisoncli.models.multisvm import MultiSVM
from poisoncli.sanitization.additive import Rows, stack
from poisoncli.sanitization.multiclass_search import MulticlassProblem, balls, least_error, repeated
from poisoncli.training.multiclass import outputs, rivals


@pytest.fixture(scope="module")
def problem():
    clean, target = several(), several(seed=1)
    return MulticlassProblem(Rows(*clean), Rows(*target), 12, 3, MultiSVM(passes=0), 0.05, -np.inf, np.inf, False)


def test_candidates_are_judged_behind_the_best_defense(problem):
    far = np.full((12, 5), 40.0)
    poison = Rows(far, np.zeros(12, int))

    def error(*rows):
        return np.mean(rivals(outputs(problem.train(Rows(*rows)), problem.target.x), problem.target.y)[0] <= 0)

    seen = np.concatenate([problem.clean.x, far]), np.concatenate([problem.clean.y, poison.y])
    assert least_error(problem, poison, (), 0.05) == error(*seen)
    behind = least_error(problem, poison, ("l2",), 0.15)  # which drops all twelve, and the farthest clean rows
    assert behind < least_error(problem, poison, (), 0.05)
    assert least_error(problem, poison, ("l2", "slab"), 0.15) <= behind


def test_rows_that_are_pushed_to_a_label_count_where_they_get_it(problem):
    poison = Rows(problem.clean.x[:12], (problem.clean.y[:12] + 1) % 3)
    wanted = problem._replace(target=Rows(problem.target.x, np.full(240, 2)), pushed=True)
    said = outputs(problem.train(stack(problem.clean, poison)), problem.target.x).argmax(axis=1)
    assert least_error(wanted, poison, (), 0.05) == np.mean(said == 2)


def test_balls_hold_their_share_of_each_class(problem):
    feasible = balls(problem, 0.8)
    x, y = problem.clean
    for c in range(3):
        center = x[y == c].mean(axis=0)
        np.testing.assert_allclose(feasible.center[c], center)
        within = np.linalg.norm(x[y == c] - center, axis=1) <= feasible.radius[c] + 1e-12
        assert np.mean(within) == pytest.approx(0.8, abs=0.02)
    moved = balls(problem, 0.8, Rows(np.full((30, 5), 3.0), np.zeros(30, int)))
    assert np.all(moved.center[0] > feasible.center[0])
    np.testing.assert_allclose(moved.center[1:], feasible.center[1:])


def test_points_are_repeated(problem):
    rng = np.random.default_rng(0)
    found = repeated(problem, np.arange(15.0).reshape(3, 5), np.array([2, 0, 1]), [2, 0, 3], 2, rng)
    np.testing.assert_array_equal(found.y, [2, 2, 1, 1, 1])
    np.testing.assert_array_equal(found.x[:, 0], [0, 0, 10, 10, 10])
    whole = repeated(problem._replace(integer=True), np.full((1, 5), 0.5), np.array([1]), [400], 1, rng)
    assert set(np.unique(whole.x)) == {0.0, 1.0}
    assert whole.x.mean() == pytest.approx(0.5, abs=0.05)
