"""Linear classifiers at their optimum and after passes of descent, against direct computation."""

import numpy as np
import pytest
import scipy.sparse as sp
from linear_rows import planes

from poisoncli.core.errors import FailedError
from poisoncli.training.linear import descend, error, fit, row_loss, slope


@pytest.mark.parametrize("loss", ["hinge", "logistic"])
@pytest.mark.parametrize("bias", ["free", "penalized"])
def test_the_victim_is_at_its_optimum(loss, bias):
    rows, lambda_ = planes(), 0.05
    theta = fit(rows.x, rows.y, lambda_, loss, bias, tol=1e-6)

    def objective(w, b):
        charge = b**2 if bias == "penalized" else 0
        return row_loss(rows.y * (rows.x @ w + b), loss).mean() + lambda_ / 2 * (w @ w + charge)

    best = objective(theta.w, theta.b)
    rng = np.random.default_rng(0)
    for size in (1e-1, 1e-2, 1e-3):
        for _ in range(50):
            assert objective(theta.w + size * rng.normal(size=6), theta.b + size * rng.normal()) >= best - 1e-6


def test_sparse_and_dense_rows_give_the_same_victim():
    rows = planes()
    dense, sparse = fit(rows.x, rows.y, 0.05), fit(sp.csr_matrix(rows.x), rows.y, 0.05)
    np.testing.assert_allclose(dense.w, sparse.w, atol=1e-6)


def test_one_pass_of_descent_comes_near_the_optimum():
    rows = planes(n=2000)
    one, best = descend(rows.x, rows.y, 0.05, "hinge", 1), fit(rows.x, rows.y, 0.05)
    assert error(one, *rows) < error(best, *rows) + 0.05
    assert not np.allclose(one.w, best.w, atol=1e-6)


def test_one_class_is_said():
    with pytest.raises(FailedError, match="one class"):
        fit(np.ones((3, 2)), np.ones(3), 0.1)


def test_slopes_are_minus_the_derivative():
    margin = np.linspace(-3, 3, 13) + 0.01
    for loss in ("hinge", "logistic"):
        numeric = (row_loss(margin + 1e-6, loss) - row_loss(margin - 1e-6, loss)) / 2e-6
        np.testing.assert_allclose(slope(margin, loss), -numeric, atol=1e-6)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_a_penalized_bias_is_penalized(kind):
    x, y = planes(n=3000, d=5)
    x = x - 3  # far from the origin, where the bias is large
    found = descend(kind(x), y, 1.0, "hinge", 50, "penalized").b
    best = fit(x, y, 1.0, "hinge", "penalized").b
    assert found == pytest.approx(best, abs=0.02)
    assert abs(descend(x, y, 1.0, "hinge", 50, "free").b - best) > 0.1
