"""Feasible sets: what is inside, by how much it is not, and their parts."""

import numpy as np
import pytest
from feasible_regions import D, region

from poisoncli.sanitization.feasible_set import rounded_energy, violation


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
