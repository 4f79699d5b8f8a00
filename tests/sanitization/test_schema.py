"""Rows of a user's table as a search for added poison sees them."""

import numpy as np
import pytest

from poisoncli.core import domain
from poisoncli.core.domain import Domain
from poisoncli.sanitization.feasible_set import FeasibleSet, violation
from poisoncli.sanitization.projection import maximize, project
from poisoncli.sanitization.schema import Schema

# a number, a whole number, one of three categories of which the last may not be taken, yes/no
ASKED = Domain(
    low=np.array([-1.0, 0, 0, 0, 0, 0]),
    high=np.array([2.5, 4, 1, 1, 0, 1]),
    whole=np.array([False, True, False, False, False, True]),
    group=np.array([-1, -1, 0, 0, 0, -1]),
    column=np.array([0, 1, 2, 2, 2, 3]),
    names=("income", "children", "port", "vip"),
    move=np.zeros(6, int),
)
SHIFT, SCALE = np.array([0.5, 2, 0, 0, 0, 0]), np.array([2.0, 1.5, 1, 1, 1, 1])
SCHEMA = Schema(ASKED, SHIFT, SCALE)


def scaled(own):
    return (np.asarray(own, float) - SHIFT) / SCALE


def test_rows_are_possible_and_their_mean_is_the_point():
    x = scaled([1.2, 2.3, 0.25, 0.75, 0, 0.6])
    rows = SCHEMA.copies(x, 4000, 1, np.random.default_rng(0))
    own = rows * SCALE + SHIFT
    assert not domain.impossible(ASKED, own).any()
    np.testing.assert_allclose(own.mean(0), x * SCALE + SHIFT, atol=0.05)
    assert len(np.unique(rows, axis=0)) > 4


def test_copies_of_a_row_stand_together_in_csr_too():
    x = scaled([1.2, 2.3, 0.25, 0.75, 0, 0.6])
    dense = SCHEMA.copies(x, 5, 2, np.random.default_rng(1))
    sparse = SCHEMA.copies(x, 5, 2, np.random.default_rng(1), sparse=True)
    np.testing.assert_array_equal(dense, sparse.toarray())
    np.testing.assert_array_equal(dense[0], dense[1])
    np.testing.assert_array_equal(dense[2], dense[3])
    assert dense.shape == (5, 6)


def region(rng):
    low, high = scaled(ASKED.low), scaled(ASKED.high)
    rows, bounds = (np.stack([part, part]) for part in SCHEMA.shares())
    center = np.stack([scaled([0.5, 1, 0.3, 0.7, 0, 0.2]), scaled([1.5, 3, 0.8, 0.2, 0, 0.9])])
    sets = FeasibleSet(low, high, center, np.full(2, 1.2), rows, bounds, equal=1)
    cut = rng.normal(size=(2, 1, 6))
    return sets.cut(cut, np.einsum("pjd,pd->pj", cut, center) + 0.2)


@pytest.mark.parametrize("seed", range(5))
def test_points_of_the_set_share_out_their_categories(seed):
    cvxpy = pytest.importorskip("cvxpy")
    rng = np.random.default_rng(seed)
    sets, aim = region(rng), rng.normal(size=(2, 6)) * 2
    near, far = project(sets, aim), maximize(sets, aim)
    for found in (near, far):
        assert np.all(violation(sets, found.x) < 1e-6)
        np.testing.assert_allclose(found.x[:, 2:5].sum(1), 1, atol=1e-6)
    for i in range(2):
        x = cvxpy.Variable(6)
        held = [
            x >= sets.low, x <= sets.high, cvxpy.sum(x[2:5]) == 1, cvxpy.norm(x - sets.center[i]) <= 1.2,
            sets.rows[i, 1] @ x <= sets.bounds[i, 1],
        ]  # fmt: skip
        best = cvxpy.Problem(cvxpy.Maximize(aim[i] @ x), held).solve()
        assert far.value[i] == pytest.approx(best, abs=1e-5)
        best = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(x - aim[i])), held).solve()
        assert near.value[i] == pytest.approx(best / 2, abs=1e-5)


def test_a_set_counts_what_is_missing_from_a_share_as_outside():
    sets = region(np.random.default_rng(0))
    inside = sets.center.copy()
    assert np.all(violation(sets, inside) < 1e-9)
    inside[:, 2:5] *= 0.5
    assert np.all(violation(sets, inside) > 0.2)
