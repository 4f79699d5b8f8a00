"""The training rows with the poison in its place."""

import numpy as np
import pytest
import scipy.sparse as sp

from poisoncli.core.attack import Poison
from poisoncli.core.data import Data, Sparse
from poisoncli.runs.poisoned import poisoned

CLEAN = Data(
    np.arange(8, dtype=np.float32).reshape(1, 4, 2), np.zeros((1, 4), np.float32), np.ones((1, 4), np.float32)
)


def poison(replaced):
    nothing = np.zeros((1, 3, 1), np.float32)
    return Poison(
        x=np.full((1, 2, 2), [[[-1], [-2]]], np.float32),
        y=np.ones((1, 2), np.float32),
        replaced=np.array([replaced]),
        counts=np.array([0, 1, 2]),
        log_lambda=nothing,
        loss=nothing,
        done=2,
        total=2,
    )


def test_poison_takes_the_place_of_rows():
    data, bad, number = poisoned(CLEAN, poison([2, 0]), 1)
    np.testing.assert_array_equal(number, [[-1, -1, 0, -1]])
    np.testing.assert_array_equal(data.x[0, :, 0], [0, 2, -1, 6])
    np.testing.assert_array_equal(bad, number >= 0)
    data, _, number = poisoned(CLEAN, poison([2, 0]), 2)
    np.testing.assert_array_equal(number, [[1, -1, 0, -1]])
    np.testing.assert_array_equal(data.y, [[1, 0, 1, 0]])
    np.testing.assert_array_equal(CLEAN.x[0, :, 0], [0, 2, 4, 6])


@pytest.mark.parametrize("sparse", [False, True])
def test_poison_is_added_behind_the_clean_rows(sparse):
    clean, own = CLEAN, poison([-1, -1])
    if sparse:
        clean = clean._replace(x=Sparse([sp.csr_matrix(clean.x[0])]))
        own = own._replace(x=Sparse([sp.csr_matrix(own.x[0])]))
    data, bad, number = poisoned(clean, own, 1)
    np.testing.assert_array_equal(data.weight, [[1, 1, 1, 1, 1, 0]])
    np.testing.assert_array_equal(number, [[-1, -1, -1, -1, 0, -1]])
    np.testing.assert_array_equal(bad, number >= 0)
    x = data.x[0].toarray() if sparse else data.x[0]
    np.testing.assert_array_equal(x[4:, 0], [-1, -2])
