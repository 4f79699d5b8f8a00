"""Logistic regression against scikit-learn's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import digits
from sklearn.linear_model import LogisticRegression

from poisoncli.core.losses import cross_entropy
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
