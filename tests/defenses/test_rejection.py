"""How many rows a defense rejects, which, and in which order it looks at them."""

import numpy as np
import planes
import pytest
import scipy.sparse as sp

from poisoncli.core.errors import PoisonError
from poisoncli.defenses.rejection import canonical_order, check_real, dense, drop, rejected, share


def test_how_many_rows_are_rejected():
    told = planes.NOBODY._replace(poison=0.1)
    assert rejected(50, 0.4, False, told) == 20
    assert rejected(50, 0.4, True, told) == 5
    with pytest.raises(PoisonError, match="nobody knows the true fraction"):
        rejected(50, 0.4, True, planes.NOBODY)
    with pytest.raises(PoisonError, match="50 of 50 rows leaves none"):
        rejected(50, 0.999, False, told)
    assert (share(0.4, False), share(0.4, True)) == ("a fraction (0.4)", "the true fraction")


def test_the_highest_scores_are_dropped_and_earlier_rows_first():
    np.testing.assert_array_equal(drop(np.array([1.0, 3, 2, 3, 0]), 1), [1, 0, 1, 1, 1])
    np.testing.assert_array_equal(drop(np.array([1.0, 3, 2, 3, 0]), 3), [1, 0, 0, 0, 1])
    np.testing.assert_array_equal(drop(np.zeros(3), 0), 1)


def test_the_order_depends_on_the_rows_alone():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=30)
    moved = rng.permutation(30)
    first, second = canonical_order(x, y), canonical_order(x[moved], y[moved])
    np.testing.assert_array_equal(x[first], x[moved][second])
    np.testing.assert_array_equal(canonical_order(sp.csr_matrix(x), y), first)
    np.testing.assert_array_equal(dense(sp.csr_matrix(x)), x)


def test_linear_regression_needs_real_targets_that_vary():
    data = planes.plane().data
    check_real("huber", planes.learner(), data)
    with pytest.raises(PoisonError, match="is for real targets"):
        check_real("huber", planes.learner("binary", "logistic"), data)
    with pytest.raises(PoisonError, match="all targets are the same"):
        check_real("huber", planes.learner(), data._replace(y=np.ones_like(data.y)))
