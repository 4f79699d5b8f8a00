"""The exact support vector machine against libsvm, its price of the bias, and copies of rows."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_breast_cancer
from sklearn.svm import SVC, LinearSVC

from poisoncli.core.errors import FailedError
from poisoncli.training import hinge
from poisoncli.training.hinge import fit_hinge
from poisoncli.training.linear import fit, row_loss


def objective(x, y, lambda_, w, b, price=0.0):
    loss = row_loss(y * (np.asarray(x @ w).ravel() + b))
    return loss.mean() + lambda_ / 2 * w @ w + price / 2 * b**2


def libsvm(x, y, lambda_):
    found = SVC(kernel="linear", C=1 / (len(y) * lambda_), tol=1e-7).fit(x, y)
    w = found.coef_.toarray()[0] if sp.issparse(found.coef_) else found.coef_[0]
    return np.asarray(w, float), float(found.intercept_[0])


def cancer(flips=0):
    x, label = load_breast_cancer(return_X_y=True)
    x, y = (x - x.min(0)) / np.ptp(x, axis=0), 2.0 * label - 1
    return np.concatenate([x[:343], *[x[343:400]] * flips]), np.concatenate([y[:343], *[-y[343:400]] * flips])


@pytest.mark.parametrize("flips", [0, 1, 12])
@pytest.mark.parametrize("lambda_", [10.0, 0.1, 0.001])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_a_free_bias_is_libsvms(flips, lambda_, kind):
    x, y = cancer(flips)
    w, b = fit_hinge(kind(x), y, lambda_)
    expected = libsvm(x, y, lambda_)
    best = objective(x, y, lambda_, *expected)
    assert objective(x, y, lambda_, w, b) <= best * (1 + 1e-6)
    assert b == pytest.approx(expected[1], abs=1e-3)


def test_more_columns_than_rows():
    rng = np.random.default_rng(0)
    x = sp.random(300, 900, 0.03, "csr", rng=rng, data_rvs=lambda n: rng.integers(1, 4, n).astype(float))
    y = np.where(np.asarray(x[:, :400].sum(1)).ravel() > np.asarray(x[:, 400:].sum(1)).ravel(), 1.0, -1.0)
    assert -1 < y.mean() < 1
    w, b = fit_hinge(x, y, 0.05)
    expected = libsvm(x, y, 0.05)
    assert objective(x, y, 0.05, w, b) <= objective(x, y, 0.05, *expected) * (1 + 1e-6)
    assert b == pytest.approx(expected[1], abs=1e-3)


def test_features_in_the_thousands_are_no_hindrance():
    x, label = load_breast_cancer(return_X_y=True)
    y = 2.0 * label - 1
    w, b = fit_hinge(x, y, 1.0)
    assert objective(x, y, 1.0, w, b) <= objective(x, y, 1.0, *libsvm(x, y, 1.0)) * (1 + 1e-6)


def test_a_priced_bias_is_a_weight():
    x, y = cancer(1)
    w, b = fit_hinge(x, y, 0.02, price=0.02)
    found = LinearSVC(C=1 / (len(y) * 0.02), loss="hinge", tol=1e-8, max_iter=1_000_000, random_state=0).fit(x, y)
    np.testing.assert_allclose(w, found.coef_[0], atol=1e-3)
    assert b == pytest.approx(float(found.intercept_[0]), abs=1e-3)
    best = objective(x, y, 0.02, found.coef_[0], float(found.intercept_[0]), 0.02)
    assert objective(x, y, 0.02, w, b, 0.02) <= best * (1 + 1e-6)


def test_copies_weigh_like_rows():
    x, y = cancer()
    once, often = fit_hinge(x, y, 0.01), fit_hinge(np.repeat(x, 7, axis=0), np.repeat(y, 7), 0.01)
    np.testing.assert_allclose(once[0], often[0], atol=1e-3)
    assert once[1] == pytest.approx(often[1], abs=1e-3)


def test_few_steps_are_enough(monkeypatch):
    """What makes it fast enough for a search: a handful of linear systems, not hundreds of rounds."""
    steps = []
    monkeypatch.setattr(
        hinge, "_newton_step", lambda *given, step=hinge._newton_step: steps.append(1) or step(*given)
    )
    x, y = cancer(12)
    fit_hinge(x, y, 0.001)
    assert len(steps) < 60


def test_where_liblinear_does_not_finish_the_exact_solver_does(monkeypatch):
    x, y = cancer(3)
    monkeypatch.setattr("poisoncli.training.linear._ITERATIONS", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fit(x, y, 0.001, bias="penalized")
    best = fit_hinge(x, y, 0.001, price=0.001)
    assert found.b == pytest.approx(best[1], abs=1e-9)


def test_no_convergence_is_said(monkeypatch):
    monkeypatch.setattr(hinge, "_PROBLEMS", 1)
    monkeypatch.setattr(hinge, "_STEPS", 1)
    with pytest.raises(FailedError, match="did not converge"):
        fit_hinge(*cancer(1), 1e-4)
