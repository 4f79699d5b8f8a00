"""Reverse mode for any model: against forward mode, finite differences, and the path by products."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import FREE, Case, digits, make

from poisoncli.bilevel.bilevel_problem import BilevelProblem
from poisoncli.bilevel.hypergradient import forward
from poisoncli.bilevel.reverse import reverse
from poisoncli.core.losses import cross_entropy, softmax_cross_entropy
from poisoncli.core.victim import Objective
from poisoncli.models.cnn import CNN
from poisoncli.models.mlp import MLP
from poisoncli.training.descent import fit
from poisoncli.training.layers import forward as by_products
from poisoncli.training.trainers import SGD, Adam, Momentum

ROWS = 14


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Plain:
    """A network as a user might write it: its parameters a mapping, its rows whole."""

    def init(self, key, m, outputs=1):
        one, two = jax.random.split(key)
        out = 0.5 * jax.random.normal(two, (5, outputs))
        return {"in": 0.3 * jax.random.normal(one, (m, 5)), "out": (out, jnp.full(outputs, 0.1))}

    def output(self, params, x):
        h = jnp.tanh(x @ params["in"]) @ params["out"][0] + params["out"][1][None]
        return h[:, 0] if h.shape[1] == 1 else h


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Whole:
    """The network of `cases`, taken as if its first layer were not linear."""

    def init(self, key, m, outputs=1):
        raise NotImplementedError

    def output(self, params, x):
        return by_products(params, x @ params[0]["w"].T, 0.1)


def case(model, outputs, lambdas=1):
    classes = (0, 8) if outputs == 1 else (0, 3, 8)
    loss = cross_entropy if outputs == 1 else softmax_cross_entropy
    objective = Objective(model, loss, "l2", float(ROWS), outputs=outputs)
    log_lambda = jnp.linspace(-0.5, 0.5, lambdas) if lambdas > 1 else jnp.array([0.3])
    start = objective.init(jax.random.key(3), 64, jnp.float64)
    return Case(objective, start, log_lambda, digits(ROWS, 1, classes), digits(10, 2, classes))


SMALL = CNN(channels=(2, 3), dense=4, kernel=3, leak=jnp.asarray(0.1), bias=jnp.asarray(0.1))
KINDS = {
    "a mapping": lambda: case(Plain(), 3),
    "cnn": lambda: case(SMALL, 3, 4),
    "cnn, two classes": lambda: case(SMALL, 1),
}


def found(one, trainer, *, segments=1, last=0, with_y=False, trusted=None, compressed=True, method=reverse):
    @jax.jit
    def run(start, log_lambda, x_free):
        rows = one.rows(x_free, compressed)
        problem = BilevelProblem(one.objective, trainer, start, log_lambda, rows, one.target, FREE, trusted)
        if method is forward:
            return forward(problem)
        return reverse(problem, False, last, with_y, segments)

    return run(one.start, one.log_lambda, jnp.asarray(one.train.x[-FREE:]))


def close(actual, expected, relative):
    assert actual.shape == expected.shape
    assert np.linalg.norm(actual - expected) <= relative * np.linalg.norm(expected)


def same(one, other, relative=1e-11):
    close(one.x, other.x, relative)
    close(one.log_lambda, other.log_lambda, relative)
    np.testing.assert_allclose(one.loss, other.loss, rtol=1e-12)


@pytest.mark.sampled
@pytest.mark.parametrize("kind", KINDS)
def test_reverse_equals_forward_mode(strict, kind):
    one = KINDS[kind]()
    result = found(one, SGD(0.1, 9))
    assert np.linalg.norm(result.x) > 1e-4
    same(result, found(one, SGD(0.1, 9), method=forward), 1e-10)


@pytest.mark.sampled
@pytest.mark.parametrize("kind", KINDS)
def test_reverse_agrees_with_finite_differences(strict, kind):
    one, step = KINDS[kind](), 1e-5
    free, lambdas = jnp.asarray(one.train.x[-FREE:]), len(one.log_lambda)
    moves = np.random.default_rng(0).normal(size=(12, free.size + lambdas))
    moves = jnp.asarray(
        np.concatenate([moves / np.linalg.norm(moves, axis=1, keepdims=True), np.eye(moves.shape[1])[-lambdas:]])
    )

    @jax.jit
    @jax.vmap
    def slopes(move):
        def loss(h):
            rows = one.rows(free + h * move[:-lambdas].reshape(free.shape))
            log_lambda = one.log_lambda + h * move[-lambdas:]
            return one.objective.clean_loss(
                fit(one.objective, SGD(0.1, 9), one.start, log_lambda, rows), one.target
            )

        return (loss(step) - loss(-step)) / (2 * step)

    result = found(one, SGD(0.1, 9))
    along = moves @ jnp.concatenate([result.x.ravel(), result.log_lambda])
    assert np.linalg.norm(along) > 1e-3
    close(along, slopes(moves), 1e-6)


@pytest.mark.sampled
@pytest.mark.parametrize("trainer", [SGD(0.1, 11), Momentum(0.05, epochs=11), SGD(0.1, 4, 5)])
@pytest.mark.parametrize("segments", [2, 3, 5, 11])
def test_segments_change_no_result(strict, trainer, segments):
    one = KINDS["a mapping"]()
    same(found(one, trainer, segments=segments), found(one, trainer), 1e-12)


def test_a_training_step_is_traced_once_each_way(strict, monkeypatch):
    """Nothing is compiled for steps that are not there; the free rows and the target rows go apart."""
    one, seen = KINDS["a mapping"](), []
    output = Plain.output
    monkeypatch.setattr(Plain, "output", lambda self, params, x: seen.append(len(x)) or output(self, params, x))
    found(one, SGD(0.1, 12))
    assert sorted(seen) == sorted([ROWS, ROWS - FREE, FREE, 10])


@pytest.mark.long
def test_segments_of_truncated_and_of_two_goals(strict):
    one = KINDS["a mapping"]()
    options = {"last": 7, "trusted": digits(9, 4, (0, 3, 8)), "with_y": True}
    plain, cut = found(one, SGD(0.1, 11), **options), found(one, SGD(0.1, 11), segments=3, **options)
    same(plain, cut, 1e-12)
    learner = found(one._replace(target=options["trusted"]), SGD(0.1, 11), last=7)
    close(plain.log_lambda, learner.log_lambda, 1e-12)


@pytest.mark.long
def test_segments_go_through_adam(strict):
    one = KINDS["a mapping"]()
    with jax.numpy_dtype_promotion("standard"):  # Optax mixes types in its bias correction
        same(found(one, Adam(0.05, epochs=8), segments=3), found(one, Adam(0.05, epochs=8)), 1e-12)


@pytest.mark.sampled
@pytest.mark.parametrize("trainer", [SGD(0.1, 9), SGD(0.1, 4, 5)])
@pytest.mark.parametrize("name", ["mlp", "mlp3"])
def test_rows_as_they_are_give_what_products_give(strict, trainer, name):
    """The same network by both paths, targets' gradients included."""
    one = make(name, "l2", 3)
    whole = one._replace(objective=dataclasses.replace(one.objective, model=Whole()))
    fast, plain = (found(each, trainer, with_y=True) for each in (one, whole))
    same(fast, plain)
    if name == "mlp":
        close(fast.y, plain.y, 1e-11)
    assert isinstance(one.objective.model, MLP)


def test_memory_of_segments(strict):
    """The compiled program with segments needs less than a third of what it needs without."""
    one = KINDS["a mapping"]()

    def bytes_of(segments):
        def run(start, x_free):
            problem = BilevelProblem(
                one.objective, SGD(0.1, 400), start, one.log_lambda, one.rows(x_free), one.target, FREE
            )
            return reverse(problem, False, segments=segments).x

        lowered = jax.jit(run).lower(one.start, jnp.asarray(one.train.x[-FREE:]))
        return lowered.compile().memory_analysis().temp_size_in_bytes

    assert bytes_of(28) < bytes_of(1) / 3


def test_any_optax_transformation(strict):
    @dataclasses.dataclass
    class Trainer:
        epochs: int = 9
        size: int = 0

        def optimizer(self, steps):
            return optax.sgd(0.1, momentum=0.9, nesterov=True)

    one = KINDS["a mapping"]()
    same(found(one, Trainer()), found(one, Trainer(), method=forward), 1e-10)
