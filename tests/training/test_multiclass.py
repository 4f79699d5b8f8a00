"""Multi-class machines against direct computation."""

import numpy as np
import pytest
import scipy.sparse as sp
from linear_rows import several

from poisoncli.core.errors import FailedError
from poisoncli.training.multiclass import (
    MulticlassLinear,
    descend,
    fit,
    fit_softmax,
    gradient,
    outputs,
    rivals,
    row_losses,
)


def loss(machine, x, y):
    return np.maximum(0, 1 - rivals(outputs(machine, x), y)[0]).mean()


def test_margins_are_over_the_best_other_class():
    scores = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 6.0]])
    margin, rival = rivals(scores, np.array([0, 1]))
    np.testing.assert_array_equal(margin, [1.0, -1.0])
    np.testing.assert_array_equal(rival, [2, 2])


def test_the_gradient_is_the_derivative():
    x, y = several()
    rng = np.random.default_rng(1)
    machine = MulticlassLinear(rng.normal(size=(3, 5)) * 0.3, rng.normal(size=3) * 0.3)
    by, step = gradient(machine, x, y), 1e-6
    for c, j in ((0, 0), (1, 3), (2, 4)):
        up, down = (machine.w.copy() for _ in range(2))
        up[c, j] += step
        down[c, j] -= step
        numeric = (loss(machine._replace(w=up), x, y) - loss(machine._replace(w=down), x, y)) / (2 * step)
        assert by.w[c, j] == pytest.approx(numeric, abs=1e-6)


def test_the_optimum_is_no_worse_than_its_surroundings():
    x, y = several()
    machine = fit(x, y, 3, 0.05, tol=1e-6)

    def value(w, b):
        return loss(MulticlassLinear(w, b), x, y) + 0.05 / 2 * (np.sum(w**2) + np.sum(b**2))

    best, rng = value(*machine), np.random.default_rng(0)
    for size in (1e-1, 1e-2, 1e-3):
        for _ in range(30):
            assert (
                value(machine.w + size * rng.normal(size=(3, 5)), machine.b + size * rng.normal(size=3))
                >= best - 1e-6
            )


def test_adagrad_learns_dense_and_sparse_rows_alike():
    x, y = several(n=600)
    dense, sparse = descend(x, y, 3, 0.02, 20, 3), descend(sp.csr_matrix(x), y, 3, 0.02, 20, 3)
    np.testing.assert_allclose(dense.w, sparse.w, atol=1e-9)
    assert np.mean(rivals(outputs(dense, x), y)[0] <= 0) < 0.3
    np.testing.assert_array_equal(dense.w, descend(x, y, 3, 0.02, 20, 3).w)


def test_a_class_without_rows_is_said():
    x, y = several()
    with pytest.raises(FailedError, match="no training rows"):
        descend(x[y > 0], y[y > 0], 3, 0.02, 20, 1)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_softmax_regression_is_where_its_gradient_vanishes(k, kind):
    """The penalty counts biases too."""
    x, y = several(k=k)
    machine = fit_softmax(kind(x), y, k, 0.05)
    chance = np.exp(outputs(machine, x))
    slopes = chance / chance.sum(axis=1, keepdims=True) - np.eye(k)[y]
    assert np.abs(slopes.T @ x / len(y) + 0.05 * machine.w).max() < 1e-5
    assert np.abs(slopes.mean(axis=0) + 0.05 * machine.b).max() < 1e-5


def test_row_losses_are_by_hand():
    scores = np.array([[3.0, 1.0, 2.5], [0.0, 5.0, 6.0]])
    np.testing.assert_allclose(row_losses(scores, np.array([0, 1]), "hinge"), [0.5, 2])
    by_hand = -np.log(np.exp(scores[[0, 1], [0, 1]]) / np.exp(scores).sum(axis=1))
    np.testing.assert_allclose(row_losses(scores, np.array([0, 1]), "logistic"), by_hand)
