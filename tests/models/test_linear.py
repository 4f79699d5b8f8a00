"""Linear regression, ridge regression with a penalty, against the closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from poisoncli.core.data import Data
from poisoncli.core.losses import squared
from poisoncli.core.victim import Objective
from poisoncli.models.linear import Linear
from poisoncli.training.descent import fit
from poisoncli.training.layout import lay_out
from poisoncli.training.trainers import SGD


def test_long_training_finds_ridge_regression(strict):
    rng = np.random.default_rng(0)
    x, n = rng.normal(size=(60, 4)), 60
    y = x @ [1.0, -2.0, 0.5, 0.0] + 3 + rng.normal(size=n)
    model, log_lambda = Linear(), np.log(6.0)
    start = jax.tree.map(lambda leaf: leaf.astype(float), model.init(jax.random.key(0), 4))
    objective, rows = Objective(model, squared, "l2", float(n)), lay_out(Data(x, y, np.ones(n)))
    found = jax.jit(lambda: fit(objective, SGD(0.3, 500), start, jnp.array([log_lambda]), rows))()[0]
    design = np.column_stack([x, np.ones(n)])
    ridge = np.diag([6.0] * 4 + [0.0])  # e^log_lambda / n of the mean loss; the bias is free
    expected = np.linalg.solve(design.T @ design + ridge, design.T @ y)
    np.testing.assert_allclose(np.append(found["w"][0], found["b"]), expected, rtol=1e-6)
    np.testing.assert_allclose(
        model.output([found], x @ found["w"].T), x @ expected[:4] + expected[4], rtol=1e-5, atol=1e-6
    )


def test_the_optimum_is_ridge_regression_of_the_weighted_rows():
    rng = np.random.default_rng(1)
    x, weight = rng.normal(size=(50, 4)), rng.random(50)
    y = x @ [1.0, -2.0, 0.5, 0.0] + 3 + rng.normal(size=50)
    found = Linear().solve(Data(x, y, weight), 0.3)[0]
    design = np.column_stack([x, np.ones(50)])
    gram = design.T @ (weight[:, None] * design) + 0.3 * weight.sum() * np.diag([1.0] * 4 + [0.0])
    expected = np.linalg.solve(gram, design.T @ (weight * y))
    np.testing.assert_allclose(np.append(found["w"][0], found["b"]), expected, rtol=1e-8)


def test_of_several_optima_it_takes_the_one_of_least_norm():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(30, 3))
    x = np.column_stack([x, x[:, 0], 1 - x[:, 1]])
    y = rng.normal(size=30)
    found = Linear().solve(Data(x, y, np.ones(30)), 0.0)[0]
    least = np.linalg.lstsq(x - x.mean(0), y - y.mean())[0]
    np.testing.assert_allclose(found["w"][0], least, atol=1e-10)
    assert found["b"][0] == pytest.approx(y.mean() - x.mean(0) @ least)
