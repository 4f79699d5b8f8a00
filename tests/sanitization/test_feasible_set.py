"""Feasible sets: what is inside, by how much it is not, and their parts."""

import numpy as np
import pytest
from feasible_regions import D, region

from poisoncli.sanitization.feasible_set import joined, rounded_energy, squared_distance, violation


def test_the_envelope_is_the_mean_energy_after_rounding():
    x = np.array([[0.25, 1.5, 2.0, 0.0]])
    rng = np.random.default_rng(0)
    drawn = np.floor(x) + (rng.random((100_000, 4)) < x - np.floor(x))
    assert rounded_energy(x)[0] == pytest.approx((drawn**2).sum(1).mean(), rel=5e-3)
    assert rounded_energy(x)[0] > (x**2).sum()


@pytest.mark.parametrize("integer", [False, True])
def test_the_violation_is_the_largest_excess_over_a_bound(integer):
    sets, x = region(1, "all", integer), np.random.default_rng(2).random((2, D)) * 5
    for i in range(2):
        energy = rounded_energy(x[i : i + 1])[0] if integer else x[i] @ x[i]
        inner = energy - 2 * x[i] @ sets.center[i] + sets.center[i] @ sets.center[i]
        rows = (sets.rows[i] @ x[i] - sets.bounds[i]) / np.linalg.norm(sets.rows[i], axis=1)
        excess = max(*(x[i] - sets.high), *-x[i], np.sqrt(max(inner, 0)) - sets.radius[i], *rows, 0.0)
        assert violation(sets, x)[i] == pytest.approx(excess)
        assert violation(sets.pick(np.array([i])), x[i : i + 1])[0] == pytest.approx(excess)


def test_a_cut_is_one_more_bound():
    sets = region(0, "ball", False)
    cut = sets.cut(np.ones((2, 1, D)), np.full((2, 1), 3.0))
    assert cut.rows.shape == (2, 1, D)
    inside = np.zeros((2, D))
    assert np.all(violation(cut, inside + 1.0) >= (D - 3) / np.sqrt(D) - 1e-9)
    np.testing.assert_array_equal(violation(cut, inside), violation(sets, inside))


def test_sets_are_picked_and_joined():
    one, other = region(0, "all", True), region(1, "all", True)._replace(high=region(0, "all", True).high)
    both, x = joined([one, other]), np.random.default_rng(0).random((4, D)) * 6
    apart = np.concatenate([violation(one, x[:2]), violation(other, x[2:])])
    np.testing.assert_array_equal(violation(both, x), apart)
    some = np.array([3, 0])
    np.testing.assert_array_equal(violation(both.pick(some), x[some]), apart[some])
    own = both._replace(high=np.broadcast_to(both.high, (4, D)))  # a box for each point
    np.testing.assert_array_equal(violation(own.pick(some), x[some]), apart[some])


def test_the_way_out_of_a_ball_is_its_excess():
    ball = region(0, "ball", False)._replace(low=np.array(-np.inf), high=np.array(np.inf))
    far = ball.center + 5 / np.sqrt(D)
    np.testing.assert_allclose(squared_distance(ball, far), 25)
    np.testing.assert_allclose(violation(ball, far), 1)  # radius 4
