"""Logistic regression against scikit-learn's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import digits
from sklearn.linear_model import LogisticRegression

from poisoncli.core.data import Data
from poisoncli.core.losses import cross_entropy, softmax_cross_entropy
from poisoncli.core.victim import Objective
from poisoncli.models.logistic import Logistic
from poisoncli.training.descent import fit
from poisoncli.training.layers import zeros
from poisoncli.training.layout import lay_out
from poisoncli.training.trainers import SGD


@pytest.mark.parametrize("log_lambda", [0.5, 2.0])
def test_long_training_finds_the_optimum_of_scikit_learn(strict, log_lambda):
    data = digits(120, 3)
    kept = data.weight == 1
    objective, rows = Objective(Logistic(), cross_entropy, "l2", float(kept.sum())), lay_out(data)
    run = jax.jit(lambda: fit(objective, SGD(0.5, 20_000), zeros(64), jnp.array([log_lambda]), rows))
    found = run()[0]
    best = LogisticRegression(C=np.exp(-log_lambda), solver="newton-cholesky", tol=1e-12)
    best.fit(data.x[kept], data.y[kept])
    np.testing.assert_allclose(found["w"], best.coef_, atol=1e-4)
    np.testing.assert_allclose(found["b"], best.intercept_, atol=1e-4)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("lambda_", [0.0, 0.02])
def test_the_optimum_has_no_gradient_with_weights_too(strict, k, lambda_):
    rng = np.random.default_rng(k)
    n, y = 200, rng.integers(0, k, 200).astype(float)
    x = rng.normal(size=(n, 4)) + 0.7 * np.eye(k, 4)[y.astype(int)]
    rows = Data(x, y, rng.random(n) * (rng.random(n) < 0.9))
    loss = cross_entropy if k == 2 else softmax_cross_entropy
    outputs = 1 if k == 2 else k
    objective = Objective(Logistic(), loss, "l2" if lambda_ else "none", 50.0, outputs=outputs)
    found = Logistic().solve(rows, lambda_, outputs)
    log_lambda = jnp.log(jnp.array([max(lambda_, 1e-300) * 50]))
    slope = jax.grad(lambda params: objective.value(params, x @ params[0]["w"].T, log_lambda, lay_out(rows)))(found)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(slope)) < 1e-4
    assert found[0]["w"].shape == (outputs, 4)


def test_a_class_without_rows_leaves_no_optimum():
    rows = Data(np.eye(4), np.array([0.0, 1, 2, 2]), np.array([1.0, 1, 0, 0]))
    assert Logistic().solve(rows, 0.1, 3) is None
    assert Logistic().solve(rows, 0.1, 1) is not None
    assert Logistic().solve(rows._replace(y=np.zeros(4)), 0.1) is None
