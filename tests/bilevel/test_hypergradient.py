"""The hypergradients of HLP Table II against one another and against closed forms."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import FREE

from poisoncli.bilevel.bilevel_problem import BilevelProblem
from poisoncli.bilevel.hypergradient import HypergradientMethod
from poisoncli.core.losses import squared
from poisoncli.training.trainers import SGD, Adam, Momentum


def found(case, trainer, method, rows=None):
    def run(start, log_lambda, rows, target):
        return method(BilevelProblem(case.objective, trainer, start, log_lambda, rows, target, FREE))

    return jax.jit(run)(case.start, case.log_lambda, rows or case.rows(), case.target)


def distance(one, other):
    """Relative distance of two hypergradients, the larger of features' and lambda's."""
    return max(
        float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b))
        for a, b in ((one.x, other.x), (one.log_lambda, other.log_lambda))
    )


@pytest.mark.sampled
@pytest.mark.parametrize(
    "trainer", [SGD(0.1, 7), Momentum(0.05, 0.8, 7), Adam(0.01, 7)], ids=lambda t: type(t).__name__
)
@pytest.mark.parametrize("model", ["logistic", "mlp"])
def test_reverse_equals_forward(case, model, trainer):
    case = case(model)
    with jax.numpy_dtype_promotion("standard"):  # Optax's Adam raises a float to an integer
        one, other = (found(case, trainer, HypergradientMethod(name)) for name in ("reverse", "forward"))
    assert distance(one, other) < 1e-11


@pytest.mark.long
def test_reverse_approaches_the_implicit_hypergradients(case):
    case = case("logistic", "l2")
    wanted = found(case, SGD(0.5, 20_000), HypergradientMethod("exact"))
    far = [
        distance(found(case, SGD(0.5, steps), HypergradientMethod("reverse")), wanted)
        for steps in (10, 100, 1000, 10_000)
    ]
    assert far == sorted(far, reverse=True)
    assert far[-1] < 1e-6
    assert distance(found(case, SGD(0.5, 20_000), HypergradientMethod("cg", tolerance=1e-12)), wanted) < 1e-8


def test_exact_equals_the_closed_form_of_ridge(case):
    """Ridge regression: w = (X^T X / n + lambda I)^-1 X^T y / n, differentiated as it stands."""
    case = case("logistic", "l2")
    objective = dataclasses.replace(case.objective, loss=squared)
    case = case._replace(objective=objective, train=case.train._replace(weight=np.ones(len(case.train.y))))

    def loss(x_free, log_lambda):
        x = jnp.concatenate([jnp.asarray(case.train.x[:-FREE]), x_free])
        n = len(case.train.y)
        design = jnp.concatenate([x, jnp.ones((n, 1))], axis=1)
        ridge = jnp.diag(jnp.append(jnp.full(x.shape[1], jnp.exp(log_lambda[0]) / n), 0.0))
        w = jnp.linalg.solve(design.T @ design / n + ridge, design.T @ jnp.asarray(case.train.y) / n)
        return jnp.mean(0.5 * (jnp.asarray(case.target.x) @ w[:-1] + w[-1] - jnp.asarray(case.target.y)) ** 2)

    weights = jnp.ones(len(case.target.y))
    case = case._replace(target=case.target._replace(weight=weights))
    wanted = jax.grad(loss, argnums=(0, 1))(jnp.asarray(case.train.x[-FREE:]), case.log_lambda)
    result = found(case, SGD(0.05, 60_000), HypergradientMethod("exact"))
    np.testing.assert_allclose(result.x, wanted[0], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(result.log_lambda, wanted[1], rtol=1e-6)


@pytest.mark.long
def test_truncation_to_all_steps_is_no_truncation_and_to_fewer_is(case):
    case = case("mlp")
    whole = found(case, SGD(0.1, 9), HypergradientMethod())
    assert distance(found(case, SGD(0.1, 9), HypergradientMethod(last=9)), whole) == 0
    far = [distance(found(case, SGD(0.1, 9), HypergradientMethod(last=last)), whole) for last in (1, 4, 8)]
    assert far == sorted(far, reverse=True)
    assert far[-1] > 0


def test_conjugate_gradients_that_stop_early_say_so(case):
    case = case("logistic", "l2")
    assert float(found(case, SGD(0.5, 50), HypergradientMethod("cg", iterations=1)).residual) > 1e-3
    assert float(found(case, SGD(0.5, 50), HypergradientMethod("cg", tolerance=1e-10)).residual) < 1e-9
