"""Rates and epochs that are found from the rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LogisticRegression

from poisoncli.core.data import Data
from poisoncli.core.losses import cross_entropy, squared
from poisoncli.core.victim import Objective
from poisoncli.models.linear import Linear
from poisoncli.models.logistic import Logistic
from poisoncli.models.mlp import MLP
from poisoncli.training import settle
from poisoncli.training.descent import fit
from poisoncli.training.layout import lay_out
from poisoncli.training.trainers import SGD, Adam, Momentum

NONE = np.full(1, -np.inf)


def rows(load=load_breast_cancer):
    x, y = load(return_X_y=True)
    y = (y - y.mean()) / y.std() if load is load_diabetes else y
    return Data(((x - x.mean(0)) / x.std(0)).astype(np.float32), y.astype(np.float32), np.ones(len(y), np.float32))


def logistic():
    return Objective(Logistic(), cross_entropy, "none", 569.0)


def test_the_curvature_is_the_largest_eigenvalue():
    train = rows()
    x = np.column_stack([train.x, np.ones(len(train.y))])
    expected = np.linalg.eigvalsh(x.T @ x / 4 / len(x))[-1]
    start = Logistic().init(jax.random.key(0), 30)
    found = settle.curvature(jax.random.key(0), logistic(), start, jnp.asarray(NONE, jnp.float32), lay_out(train))
    assert float(found) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    "trainer", [SGD(0.0, 0), Momentum(0.0, epochs=0), Adam(0.0, 0)], ids=lambda one: type(one).__name__
)
def test_it_trains_until_the_loss_has_settled(trainer):
    train = rows()
    found = settle.settle(jax.random.key(0), logistic(), trainer, train, NONE)
    assert found.settled
    assert 0 < found.fall <= settle.SETTLED
    assert found.trainer.rate > 0
    start = Logistic().init(jax.random.key(0), 30)
    params = fit(logistic(), found.trainer, start, jnp.zeros(1), lay_out(train))
    loss = float(logistic().clean_loss(params, train))
    assert loss == pytest.approx(found.loss, rel=1e-4)
    best = LogisticRegression(C=np.inf, max_iter=10_000).fit(train.x, train.y)
    errors = [np.mean((train.x @ w.T + b > 0).ravel() != (train.y > 0.5)) for w, b in (
        (np.asarray(params[0]["w"]), np.asarray(params[0]["b"])), (best.coef_, best.intercept_)
    )]  # fmt: skip
    assert errors[0] <= errors[1] + 0.02


def test_what_is_given_is_kept():
    found = settle.settle(jax.random.key(0), logistic(), SGD(0.05, 0), rows(), NONE)
    assert float(found.trainer.rate) == 0.05
    assert found.trainer.epochs > 0
    found = settle.settle(jax.random.key(0), logistic(), SGD(0.0, 60), rows(), NONE)
    assert found.trainer.epochs == 60
    assert float(found.trainer.rate) > 0.1


def test_what_has_not_settled_says_so():
    found = settle.settle(jax.random.key(0), logistic(), SGD(0.001, 0), rows(), NONE)
    assert not found.settled
    assert found.trainer.epochs == settle.LONGEST


@pytest.mark.long
def test_a_network_does_not_climb():
    objective = Objective(MLP(), squared, "none", 442.0)
    found = settle.settle(jax.random.key(0), objective, Momentum(0.0, epochs=0), rows(load_diabetes), NONE)
    assert found.fall >= 0
    assert found.loss < 0.3


def test_linear_regression_comes_to_its_least_squares():
    train = rows(load_diabetes)
    found = settle.settle(jax.random.key(0), Objective(Linear(), squared, "none", 442.0), SGD(0.0, 0), train, NONE)
    x = np.column_stack([train.x, np.ones(len(train.y))])
    residual = train.y - x @ np.linalg.lstsq(x, train.y)[0]
    assert found.loss == pytest.approx(0.5 * np.mean(residual**2), rel=0.01)


def test_a_convex_loss_comes_to_its_optimum():
    train, lambda_ = rows(), 0.01
    objective = Objective(Logistic(), cross_entropy, "l2", 569.0)
    log_lambda = np.full(1, np.log(lambda_ * 569))
    found = settle.settle(jax.random.key(0), objective, Momentum(0.0, epochs=0), train, log_lambda, convex=True)
    assert found.at_optimum
    assert found.fall > 0
    assert 0 < found.steps < found.trainer.epochs
    start = Logistic().init(jax.random.key(0), 30)
    params = fit(objective, found.trainer, start, jnp.asarray(log_lambda, jnp.float32), lay_out(train))
    best = LogisticRegression(C=1 / (lambda_ * 569), max_iter=10_000, tol=1e-8).fit(train.x, train.y)
    ours = (train.x @ np.asarray(params[0]["w"]).T + np.asarray(params[0]["b"]) > 0).ravel()
    np.testing.assert_array_equal(ours, best.predict(train.x) > 0.5)
    coarse = settle.settle(jax.random.key(0), objective, Momentum(0.0, epochs=0), train, log_lambda)
    assert coarse.trainer.epochs == coarse.steps == found.steps


def test_without_a_penalty_a_convex_loss_may_end_short_of_its_optimum():
    train = rows()
    apart = train._replace(y=(train.x[:, 0] > 0).astype(np.float32))  # classes that separate have none
    found = settle.settle(jax.random.key(0), logistic(), Momentum(0.0, epochs=0), apart, NONE, convex=True)
    assert found.trainer.epochs == settle.LONGEST_CONVEX
    assert found.settled
    assert not found.at_optimum
