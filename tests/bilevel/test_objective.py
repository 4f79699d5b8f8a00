"""The general objective (HLP eq. 2): attacker and learner look at other rows and losses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import FREE, digits

from poisoncli.bilevel.ascent import Ascent, OuterState, StageProblem, Step, hyperiterations
from poisoncli.bilevel.bilevel_problem import BilevelProblem
from poisoncli.bilevel.hypergradient import NAMES
from poisoncli.bilevel.hypergradient import HypergradientMethod as Method
from poisoncli.core.losses import TARGET_LOSSES
from poisoncli.training.descent import fit
from poisoncli.training.layout import free_rows
from poisoncli.training.trainers import SGD, Momentum


def test_what_is_maximized_on_a_row():
    logit, y = jnp.array([2.0, -1.0]), jnp.array([1.0, 0.0])
    right = np.log1p(np.exp([-2.0, -1.0]))
    np.testing.assert_allclose(TARGET_LOSSES["training", True](logit, y), -right, rtol=1e-6)
    np.testing.assert_allclose(TARGET_LOSSES["margin", False](logit, y), [-2.0, -1.0])
    np.testing.assert_allclose(TARGET_LOSSES["margin", True](logit, y), [2.0, 1.0])
    assert TARGET_LOSSES["training", False] is None


@pytest.mark.parametrize("name", ["reverse", "forward", "exact"])
@pytest.mark.parametrize(("loss", "label"), [("training", True), ("margin", False), ("margin", True)])
def test_hypergradients_of_any_outer_loss_agree_with_finite_differences(case, name, loss, label):
    case = case("logistic", "l2")
    steps = 4000 if name == "exact" else 9
    trainer, objective = SGD(0.5, steps), dataclasses.replace(case.objective, outer=TARGET_LOSSES[loss, label])
    weight = np.asarray(case.target.weight) * (case.target.y == 1)
    target = case.target._replace(y=np.zeros_like(case.target.y) if label else case.target.y, weight=weight)
    free = jnp.asarray(case.train.x[-FREE:])

    @jax.jit
    def slope(move):
        def aim(h):
            rows = case.rows(free + h * move[:-1].reshape(free.shape))
            params = fit(objective, trainer, case.start, case.log_lambda + h * move[-1:], rows)
            logit = jnp.asarray(target.x) @ params[0]["w"][0] + params[0]["b"]
            # the rows are ones: pushed to 0, or away from 1
            gain = -jax.nn.softplus(logit) if loss == "training" else -logit
            return jnp.sum(gain * weight) / weight.sum()

        return (aim(1e-5) - aim(-1e-5)) / 2e-5

    found = jax.jit(
        lambda log_lambda: Method(name)(
            BilevelProblem(objective, trainer, case.start, log_lambda, case.rows(), target, FREE)
        )
    )(case.log_lambda)
    rng = np.random.default_rng(0)
    for _ in range(3):
        move = jnp.asarray(rng.normal(size=free.size + 1))
        by_hand = jnp.vdot(found.x.ravel(), move[:-1]) + found.log_lambda[0] * move[-1]
        assert abs(by_hand) > 1e-4
        np.testing.assert_allclose(by_hand, slope(move), rtol=1e-6)


def test_the_learner_keeps_to_rows_of_his_own(case):
    """Points follow the attacker's hypergradient, log_lambda the sign of that of the trusted rows."""
    case = case("logistic", "l2")
    trainer, trusted = SGD(0.3, 12), digits(12, 7)
    objective = dataclasses.replace(case.objective, outer=TARGET_LOSSES["margin", True])
    target = case.target._replace(y=np.zeros_like(case.target.y))
    rows = case.rows()
    last = jax.tree.map(lambda leaf: leaf[None], rows.blocks[-1])
    whole = rows._replace(blocks=(last,), y=rows.y[None], weight=rows.weight[None])
    front = jax.tree.map(lambda leaf: leaf[None], OuterState(whole, case.log_lambda[None]))
    step = Step(*map(jnp.asarray, (0.01, [0.25], np.inf, -9.0, 9.0, -8.0, 8.0)))
    seen, own = (jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], data) for data in (target, trusted))
    after, _ = hyperiterations(
        jax.random.split(jax.random.key(0), 1),
        StageProblem(objective, trainer, seen, FREE, own),
        front,
        step,
        jnp.asarray(0),
        ascent=Ascent("none", Method(), 1),
    )
    start = [{"w": jnp.zeros((1, 64)), "b": jnp.zeros(1)}]

    def found(objective, data):
        def of(log_lambda):
            return Method()(BilevelProblem(objective, trainer, start, log_lambda, rows, data, FREE))

        return jax.jit(of)(case.log_lambda)

    moved = after.rows.blocks[-1].x.reshape(-1, 64)[-FREE:] - free_rows(rows, FREE)
    np.testing.assert_allclose(moved, 0.01 * found(objective, target).x, rtol=1e-9, atol=1e-14)
    own, other = found(case.objective, trusted).log_lambda, found(objective, target).log_lambda
    assert np.sign(own) != np.sign(other)
    np.testing.assert_allclose(after.log_lambda.ravel(), case.log_lambda - 0.25 * np.sign(own))


@pytest.mark.sampled
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("trainer", [SGD(0.3, 12), Momentum(0.05, epochs=12, size=5)])
def test_rows_of_the_learner_change_the_hypergradient_of_lambda_alone(case, name, trainer):
    case = case("mlp", "l2", 3) if isinstance(trainer, Momentum) else case("logistic", "l2")
    objective, trusted = dataclasses.replace(case.objective, outer=TARGET_LOSSES["margin", False]), digits(12, 7)
    method = Method(name, iterations=500)
    if name in ("cg", "exact"):
        trainer = SGD(0.3, 200)

    def found(objective, target, *more):
        rows = case.rows()
        return jax.jit(
            lambda log_lambda: method(
                BilevelProblem(objective, trainer, case.start, log_lambda, rows, target, FREE, *more)
            )
        )(case.log_lambda)

    both, points, learner = (
        found(objective, case.target, trusted),
        found(objective, case.target),
        found(case.objective, trusted),
    )
    np.testing.assert_allclose(both.x, points.x, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(both.log_lambda, learner.log_lambda, rtol=1e-9)
    np.testing.assert_array_equal(both.loss, points.loss)
    assert np.all(np.abs(both.log_lambda - points.log_lambda) > 1e-9)
