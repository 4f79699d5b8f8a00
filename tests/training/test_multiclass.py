"""Multi-class machines against direct computation, and their collapse."""

import numpy as np
import pytest
import scipy.sparse as sp

from poisoncli.core.errors import FailedError
from poisoncli.sanitization.additive import Rows
from poisoncli.sanitization.collapse import collapse_multiclass
from poisoncli.training.multiclass import MulticlassLinear, descend, fit, gradient, outputs, rivals


def rows(n=240, d=5, k=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    return rng.normal(size=(n, d)) + 1.5 * np.eye(k, d)[y], y


def loss(machine, x, y):
    return np.maximum(0, 1 - rivals(outputs(machine, x), y)[0]).mean()


def test_margins_are_over_the_best_other_class():
    scores = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 6.0]])
    margin, rival = rivals(scores, np.array([0, 1]))
    np.testing.assert_array_equal(margin, [1.0, -1.0])
    np.testing.assert_array_equal(rival, [2, 2])


def test_the_gradient_is_the_derivative():
    x, y = rows()
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
    x, y = rows()
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
    x, y = rows(n=600)
    dense, sparse = descend(x, y, 3, 0.02, 20, 3), descend(sp.csr_matrix(x), y, 3, 0.02, 20, 3)
    np.testing.assert_allclose(dense.w, sparse.w, atol=1e-9)
    assert np.mean(rivals(outputs(dense, x), y)[0] <= 0) < 0.3
    np.testing.assert_array_equal(dense.w, descend(x, y, 3, 0.02, 20, 3).w)


def test_a_class_without_rows_is_said():
    x, y = rows()
    with pytest.raises(FailedError, match="no training rows"):
        descend(x[y > 0], y[y > 0], 3, 0.02, 20, 1)


def test_collapsed_points_pull_as_all_rows_do():
    x, y = rows()
    machine = MulticlassLinear(0.2 * np.eye(3, 5), np.zeros(3))
    found = collapse_multiclass(machine, Rows(x, y), integer=False)
    assert len(found.y) <= 3 * 2
    assert found.exact, found.why
    assert found.mismatch < 1e-12
    whole = gradient(machine, x, y)
    few = [gradient(machine, point[None], [label]) for point, label in zip(found.x, found.y, strict=True)]
    by = sum(count * part.w for count, part in zip(found.copies, few, strict=True))
    np.testing.assert_allclose(by, whole.w * len(y), atol=1e-9)
