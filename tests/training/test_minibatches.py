"""Mini-batches cost their own rows and change no number: steps on all rows, weighted by 0 and 1, are the oracle."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import FREE, ROWS

from poisoncli.bilevel.bilevel_problem import BilevelProblem
from poisoncli.bilevel.hypergradient import forward
from poisoncli.bilevel.reverse import reverse
from poisoncli.training.descent import fit, gradient, update
from poisoncli.training.minibatches import free_places, members, rows_of_step
from poisoncli.training.trainers import SGD, Adam, Momentum, steps_of

pytestmark = pytest.mark.usefixtures("standard")

TRAINERS = [SGD(0.1, 3, 5), Momentum(0.05, 0.9, 2, 4, "cosine"), Adam(0.02, 2, 6, "linear"), SGD(0.1, 2, 1)]


@pytest.fixture
def standard(strict):
    """Optax promotes types silently."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def masked_fit(problem, rows, log_lambda, last=0):
    """The training with a pass over all rows in each step, of which those of other batches have weight 0."""
    n, trainer = len(rows.y), problem.trainer
    batches = -(-n // trainer.size)
    batch = np.random.default_rng(0).permutation(n) // trainer.size
    steps = steps_of(trainer, n)
    state = (problem.params, trainer.optimizer(steps).init(problem.params))
    for t in range(steps):
        if last and t == steps - last:
            state = jax.lax.stop_gradient(state)
        weight = jnp.where(batch == t % batches, rows.weight, 0.0)
        if np.any(np.asarray(problem.rows.weight)[batch == t % batches] > 0):
            grads, _h = gradient(problem.objective, state[0], log_lambda, rows._replace(weight=weight))
        else:
            grads = jax.tree.map(jnp.zeros_like, state[0])
        state = update(trainer, state, grads, steps)
    return state[0]


def masked(case, problem, last=0):
    """Target loss and its gradients for the free rows, log_lambda and the free rows' targets."""

    def loss(x, log_lambda, y):
        rows = case.rows(x)
        rows = rows._replace(y=rows.y.at[-FREE:].set(y), weight=problem.rows.weight)
        return problem.objective.clean_loss(masked_fit(problem, rows, log_lambda, last), problem.target)

    at = jnp.asarray(case.train.x[-FREE:]), case.log_lambda, jnp.asarray(case.train.y[-FREE:])
    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))(*at)


def problem(case, trainer, weight=None):
    rows = case.rows(compressed=True)
    rows = rows if weight is None else rows._replace(weight=jnp.asarray(weight))
    return BilevelProblem(case.objective, trainer, case.start, case.log_lambda, rows, case.target, FREE)


def close(found, expected):
    loss, (by_x, by_lambda, by_y) = expected
    np.testing.assert_allclose(found.loss, loss, rtol=1e-12)
    np.testing.assert_allclose(found.x, by_x, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(found.log_lambda, by_lambda, rtol=1e-9, atol=1e-13)
    if found.y is not None:
        np.testing.assert_allclose(found.y, by_y, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(("n", "size"), [(14, 4), (14, 5), (14, 7), (14, 1), (14, 13), (1, 1)])
def test_every_row_is_in_one_mini_batch_and_free_rows_are_found_there(n, size):
    found = members(n, size)
    assert sorted(found[found >= 0]) == list(range(n))
    assert np.all(found[:-1] >= 0)
    for free in range(1, n + 1):
        at = free_places(n, size, free)
        np.testing.assert_array_equal(found[at.batch, at.position], np.arange(n - free, n))
        np.testing.assert_array_equal(at.table[at.batch, at.slot], at.position)
        assert len(set(zip(at.batch.tolist(), at.slot.tolist(), strict=True))) == free


def test_a_step_sees_the_rows_of_its_batch_alone(case):
    rows, trainer = case().rows(compressed=True), SGD(0.1, 2, 4)
    whole = case().rows()
    for t, chosen in enumerate(members(ROWS, 4)):
        seen = rows_of_step(rows, trainer)(jnp.asarray(t + 4))
        assert seen.blocks[0].x.shape == (4, 64)
        there = chosen >= 0
        np.testing.assert_array_equal(seen.blocks[0].x[there], whole.blocks[0].x[chosen[there]])
        np.testing.assert_array_equal(seen.blocks[0].xt, seen.blocks[0].x.T)
        np.testing.assert_array_equal(seen.y[there], whole.y[chosen[there]])
        np.testing.assert_array_equal(seen.weight, np.where(there, whole.weight[chosen], 0))


@pytest.mark.long
@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize(("model", "reg", "lambdas"), [("logistic", "l2", 1), ("mlp", "l1", 3)])
def test_training_and_hypergradients_are_those_of_masked_steps(case, trainer, model, reg, lambdas):
    case = case(model, reg, lambdas)
    at = problem(case, trainer)
    expected = masked(case, at)
    close(jax.jit(lambda: reverse(at, True, with_y=True))(), expected)
    close(jax.jit(lambda: reverse(at, False))(), expected)
    close(jax.jit(lambda: forward(at))(), expected)
    trained = jax.jit(lambda: fit(at.objective, trainer, at.params, at.log_lambda, at.rows))()
    for one, other in zip(
        jax.tree.leaves(trained), jax.tree.leaves(masked_fit(at, at.rows, at.log_lambda)), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-14)


@pytest.mark.sampled
@pytest.mark.parametrize("last", [1, 4, 5, 9])
def test_truncation_within_a_pass(case, last):
    case = case("logistic", "l2")
    at = problem(case, SGD(0.1, 3, 4))
    close(jax.jit(lambda: reverse(at, True, last, with_y=True))(), masked(case, at, last))


@pytest.mark.long
def test_one_pass_serves_trusted_rows_too(case):
    case = case("logistic", "l2")
    at = problem(case, SGD(0.1, 3, 4))
    other = case.target._replace(y=1 - case.target.y)
    both = jax.jit(lambda: reverse(dataclasses.replace(at, trusted=other), True))()
    alone = jax.jit(lambda: reverse(dataclasses.replace(at, target=other), True))()
    np.testing.assert_allclose(both.log_lambda, alone.log_lambda, rtol=1e-10)
    np.testing.assert_allclose(both.x, jax.jit(lambda: reverse(at, True))().x, rtol=1e-10)


@pytest.mark.long
def test_a_batch_whose_rows_are_all_dropped_moves_nothing(case):
    case = case("logistic", "l2")
    weight = np.array(case.train.weight)
    weight[members(ROWS, 4)[1]] = 0
    at = problem(case, SGD(0.1, 3, 4), weight)
    expected = masked(case, at)
    assert np.isfinite(expected[0])
    close(jax.jit(lambda: reverse(at, True))(), expected)
    close(jax.jit(lambda: forward(at))(), expected)
