"""Hypergradients against finite differences, and against forward mode through a plainly written training."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import FREE, plain_loss, plain_objective

from poisoncli.core.hypergrad import reverse
from poisoncli.core.train import SGD, fit

KINDS = [("logistic", 1), ("mlp", 1), ("mlp", 3)]
SOME, OTHERS = [(False, True), (True, False)], [(False, False), (True, True)]  # compressed, stored


@dataclasses.dataclass
class Trainer:
    """Any Optax optimizer as the inner one."""

    inner: optax.GradientTransformation
    epochs: int = 9

    def optimizer(self):
        return self.inner


def found(case, trainer, compressed=False, store=False):
    """What `reverse` returns, compiled."""

    @jax.jit
    def run(start, log_lambda, x_free, target):
        rows = case.rows(x_free, compressed)
        return reverse(case.objective, trainer, start, log_lambda, rows, target, FREE, store)

    return run(case.start, case.log_lambda, jnp.asarray(case.train.x[-FREE:]), case.target)


def plainly(case, trainer):
    """The target loss as a function of the free rows and log_lambda, by the plainest training."""

    def loss(x_free, log_lambda):
        data = case.train._replace(x=jnp.concatenate([case.train.x[:-FREE], x_free]))

        def step(state, _):
            grads = jax.grad(plain_objective)(state[0], log_lambda, data, case.objective.reg)
            change, inner = trainer.inner.update(grads, state[1], state[0])
            return (optax.apply_updates(state[0], change), inner), None

        start = (case.start, trainer.inner.init(case.start))
        return plain_loss(jax.lax.scan(step, start, length=trainer.epochs)[0][0], case.target)

    return loss


def check_forward_mode(case, trainer, layouts):
    """Compare `reverse` in some layouts with forward mode."""
    free = jnp.asarray(case.train.x[-FREE:])
    loss = plainly(case, trainer)
    both = jax.jit(lambda *at: (loss(*at), jax.jacfwd(loss, argnums=(0, 1))(*at)))
    value, (by_x, by_lambda) = both(free, case.log_lambda)
    assert np.linalg.norm(by_x) > 1e-4
    for compressed, store in layouts:
        result = found(case, trainer, compressed, store)
        np.testing.assert_allclose(result.loss, value, rtol=1e-12)
        close(result.x, by_x, 1e-10)
        close(result.log_lambda, by_lambda, 1e-10)


def close(actual, expected, relative):
    """The error's norm is at most `relative` times that of `expected`."""
    assert actual.shape == expected.shape
    assert np.linalg.norm(actual - expected) <= relative * np.linalg.norm(expected)


@pytest.mark.parametrize("reg", ["none", "l2", "l1"])
@pytest.mark.parametrize(("model", "lambdas"), KINDS)
def test_reverse_agrees_with_finite_differences(case, model, lambdas, reg):
    case = case(model, reg, lambdas)
    trainer, step, free = SGD(0.1, 9), 1e-5, jnp.asarray(case.train.x[-FREE:])

    @jax.jit
    @jax.vmap
    def slopes(x_move, lambda_move):
        def loss(h):
            rows, log_lambda = case.rows(free + h * x_move), case.log_lambda + h * lambda_move
            trained = fit(case.objective, trainer, case.start, log_lambda, rows)
            return case.objective.clean_loss(trained, case.target)

        return (loss(step) - loss(-step)) / (2 * step)

    by_x = slopes(jnp.eye(free.size).reshape(-1, *free.shape), jnp.zeros((free.size, lambdas)))
    by_lambda = slopes(jnp.zeros((lambdas, *free.shape)), jnp.eye(lambdas))
    assert np.linalg.norm(by_x) > 1e-3
    assert reg == "none" or np.linalg.norm(by_lambda) > 1e-3
    for compressed, store in SOME:
        result = found(case, trainer, compressed, store)
        close(result.x, by_x.reshape(free.shape), 1e-6)
        if reg == "none":
            assert not np.any(result.log_lambda)
        else:
            close(result.log_lambda, by_lambda, 1e-6)


@pytest.mark.parametrize("reg", ["none", "l2", "l1"])
@pytest.mark.parametrize(("model", "lambdas"), KINDS)
def test_reverse_equals_forward_mode(case, model, lambdas, reg):
    check_forward_mode(case(model, reg, lambdas), Trainer(optax.sgd(0.1)), OTHERS)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(("model", "lambdas"), KINDS)
def test_reverse_goes_through_momentum(case, model, lambdas, nesterov):
    inner = optax.sgd(0.1, momentum=0.9, nesterov=nesterov)
    check_forward_mode(case(model, "l2", lambdas), Trainer(inner), OTHERS[-1:])


@pytest.mark.parametrize(("model", "lambdas"), KINDS)
def test_reverse_goes_through_adam(case, model, lambdas):
    with jax.numpy_dtype_promotion("standard"):  # Optax mixes types in its bias correction
        check_forward_mode(case(model, "l2", lambdas), Trainer(optax.adam(0.05)), OTHERS[-1:])


def test_trained_parameters_are_those_of_fit(case):
    case, trainer = case("mlp", "l2", 3), SGD(0.1, 9)
    trained = fit(case.objective, trainer, case.start, case.log_lambda, case.rows())
    for one, other in zip(jax.tree.leaves(found(case, trainer).params), jax.tree.leaves(trained), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)


def test_row_of_weight_zero_has_no_hypergradient(case):
    case = case("mlp")
    weight = case.train.weight.copy()
    weight[-1] = 0
    result = found(case._replace(train=case.train._replace(weight=weight)), SGD(0.1, 9))
    assert not np.any(result.x[-1])
    assert np.all(np.any(result.x[:-1] != 0, axis=1))
