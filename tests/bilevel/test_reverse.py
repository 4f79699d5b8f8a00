"""Hypergradients against finite differences, and against forward mode through a plainly written training."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import FREE, plain_loss, plain_objective

from poisoncli.bilevel.bilevel_problem import BilevelProblem
from poisoncli.bilevel.reverse import reverse
from poisoncli.training.descent import fit
from poisoncli.training.trainers import SGD

KINDS = [
    ("logistic", "none", 1),
    ("logistic", "l2", 1),
    ("logistic", "l1", 1),
    ("mlp", "none", 1),
    ("mlp", "l2", 1),
    ("mlp", "l2", 3),
    ("mlp", "l1", 3),
    ("softmax", "l2", 1),
    ("mlp3", "l2", 3),
]


@dataclasses.dataclass
class Trainer:
    """Any Optax optimizer as the inner one."""

    inner: optax.GradientTransformation
    epochs: int = 9
    size: int = 0
    schedule: str = "constant"

    def optimizer(self, steps):
        return self.inner


def found(case, trainer, compressed=False, store=False):
    """What `reverse` returns, compiled."""

    @jax.jit
    def run(start, log_lambda, x_free, target):
        rows = case.rows(x_free, compressed)
        return reverse(BilevelProblem(case.objective, trainer, start, log_lambda, rows, target, FREE), store)

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


def check_forward_mode(case, trainer):
    """Compare `reverse`, compressed and with stored products, with forward mode."""
    free = jnp.asarray(case.train.x[-FREE:])
    loss = plainly(case, trainer)
    both = jax.jit(lambda *at: (loss(*at), jax.jacfwd(loss, argnums=(0, 1))(*at)))
    value, (by_x, by_lambda) = both(free, case.log_lambda)
    assert np.linalg.norm(by_x) > 1e-4
    result = found(case, trainer, compressed=True, store=True)
    np.testing.assert_allclose(result.loss, value, rtol=1e-12)
    close(result.x, by_x, 1e-10)
    close(result.log_lambda, by_lambda, 1e-10)


def close(actual, expected, relative):
    """The error's norm is at most `relative` times that of `expected`."""
    assert actual.shape == expected.shape
    assert np.linalg.norm(actual - expected) <= relative * np.linalg.norm(expected)


@pytest.mark.sampled
@pytest.mark.parametrize(("compressed", "store"), [(False, True), (True, False)])
def test_layouts_agree(case, compressed, store):
    case = case("mlp", "l1", 3)
    result, plain = found(case, SGD(0.1, 9), compressed, store), found(case, SGD(0.1, 9))
    close(result.x, plain.x, 1e-12)
    close(result.log_lambda, plain.log_lambda, 1e-12)


@pytest.mark.sampled
@pytest.mark.parametrize(("model", "reg", "lambdas"), KINDS[1:6:2] + KINDS[2:3] + KINDS[7:])
def test_reverse_agrees_with_finite_differences(case, model, reg, lambdas):
    case = case(model, reg, lambdas)
    trainer, step, free = SGD(0.1, 9), 1e-5, jnp.asarray(case.train.x[-FREE:])

    @jax.jit
    @jax.vmap
    def slopes(move):
        def loss(h):
            rows = case.rows(free + h * move[:-lambdas].reshape(free.shape))
            log_lambda = case.log_lambda + h * move[-lambdas:]
            trained = fit(case.objective, trainer, case.start, log_lambda, rows)
            return case.objective.clean_loss(trained, case.target)

        return (loss(step) - loss(-step)) / (2 * step)

    found_slopes = slopes(jnp.eye(free.size + lambdas))
    by_x, by_lambda = found_slopes[:-lambdas].reshape(free.shape), found_slopes[-lambdas:]
    result = found(case, trainer)
    assert np.linalg.norm(by_x) > 1e-3
    close(result.x, by_x, 1e-6)
    if reg == "none":
        assert not np.any(result.log_lambda)
    else:
        assert np.linalg.norm(by_lambda) > 1e-3
        close(result.log_lambda, by_lambda, 1e-6)


@pytest.mark.sampled
@pytest.mark.parametrize(("model", "reg", "lambdas"), KINDS)
def test_reverse_equals_forward_mode(case, model, reg, lambdas):
    check_forward_mode(case(model, reg, lambdas), Trainer(optax.sgd(0.1)))


@pytest.mark.long
def test_reverse_goes_through_momentum(case):
    check_forward_mode(case("mlp", "l2", 3), Trainer(optax.sgd(0.1, momentum=0.9, nesterov=True)))


@pytest.mark.long
def test_reverse_goes_through_adam(case):
    with jax.numpy_dtype_promotion("standard"):  # Optax mixes types in its bias correction
        check_forward_mode(case("mlp", "l2", 3), Trainer(optax.adam(0.05)))


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
