import numpy as np
import pytest
from sklearn.linear_model import BayesianRidge

from poisoncli.training.bayes import bayesian_regression


def rows(n, m, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, m)) + 0.3
    return x, x @ rng.standard_normal(m) + 0.5 * rng.standard_normal(n) + 2


@pytest.mark.parametrize(("n", "m"), [(80, 1), (80, 7), (300, 25)])
def test_posterior_is_that_of_scikit_learn(n, m):
    x, y = rows(n, m)
    ours, theirs = bayesian_regression(x, y, 300), BayesianRidge(max_iter=300).fit(x, y)
    np.testing.assert_allclose(ours.mean, theirs.coef_, rtol=1e-6)
    np.testing.assert_allclose(ours.covariance, theirs.sigma_, rtol=1e-6, atol=1e-12)
    assert ours.beta == pytest.approx(theirs.alpha_, rel=1e-6)
    assert ours.lambda_ == pytest.approx(theirs.lambda_, rel=1e-6)
    for a, b in zip(ours.predict(x), theirs.predict(x, return_std=True), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_collinear_and_constant_columns_and_fewer_rows_than_columns():
    x, y = rows(40, 3)
    doubled = np.concatenate([x, x[:, :1], np.ones((40, 1))], axis=1)
    for features in (doubled, rows(10, 25)[0][:10]):
        mean, std = bayesian_regression(features, y[: len(features)], 300).predict(features)
        assert np.all(np.isfinite(mean))
        assert np.all(std > 0)
    alone = bayesian_regression(x, y, 300).predict(x)[0]
    np.testing.assert_allclose(bayesian_regression(doubled, y, 300).predict(doubled)[0], alone, atol=0.05)
