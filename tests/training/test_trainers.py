"""Mini-batches and step sizes that fall: the training is as written, and hypergradients go through it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import FREE, plain_loss, plain_objective

from poisoncli.bilevel.bilevel_problem import BilevelProblem
from poisoncli.bilevel.hypergradient import forward
from poisoncli.bilevel.reverse import reverse
from poisoncli.core.data import Data
from poisoncli.training.descent import fit
from poisoncli.training.trainers import SGD, Adam, Momentum, steps_of

pytestmark = pytest.mark.usefixtures("standard")

TRAINERS = [
    SGD(0.1, 3, 5),
    SGD(0.1, 6, 0, "linear"),
    Momentum(0.05, 0.9, 2, 4, "cosine"),
    Adam(0.02, 3, 6, "linear"),
]


@pytest.fixture
def standard(strict):
    """Optax promotes types silently."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.sampled
@pytest.mark.parametrize("trainer", TRAINERS)
def test_training_is_that_of_the_formula(case, trainer):
    case = case("logistic", "l2")
    n = len(case.train.y)
    batches = -(-n // trainer.size) if trainer.size else 1
    order = np.random.default_rng(0).permutation(n) // (trainer.size or n)
    steps = trainer.epochs * batches
    falls = {
        "constant": lambda t: trainer.rate,
        "linear": optax.linear_schedule(trainer.rate, 0.0, steps),
        "cosine": optax.cosine_decay_schedule(trainer.rate, steps),
    }[trainer.schedule]
    kind = {SGD: optax.sgd, Adam: lambda rate: optax.adam(rate, eps_root=1e-12)}
    plain = kind.get(type(trainer), lambda rate: optax.sgd(rate, momentum=trainer.momentum))

    def loss(params, chosen):
        return plain_objective(params, case.log_lambda, Data(*(leaf[chosen] for leaf in case.train)), "l2")

    params, state = case.start, plain(trainer.rate).init(case.start)
    for t in range(steps):
        chosen = order == t % batches if trainer.size else slice(None)
        change, state = plain(float(falls(t))).update(jax.grad(loss)(params, chosen), state, params)
        params = optax.apply_updates(params, change)
    assert steps_of(trainer, n) == steps
    found = fit(case.objective, trainer, case.start, case.log_lambda, case.rows())
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)


@pytest.mark.sampled
@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("store", [True, False])
def test_reverse_is_forward_and_the_difference_quotient(case, trainer, store):
    case = case("mlp", "l2", 3)
    rows = case.rows(compressed=True)

    @jax.jit
    def both(start, log_lambda):
        at = BilevelProblem(case.objective, trainer, start, log_lambda, rows, case.target, FREE)
        return reverse(at, store), forward(at)

    back, ahead = both(case.start, case.log_lambda)
    np.testing.assert_allclose(back.x, ahead.x, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(back.log_lambda, ahead.log_lambda, rtol=1e-7, atol=1e-12)

    free = jnp.asarray(case.train.x[-FREE:])
    run = jax.jit(
        lambda x: plain_loss(fit(case.objective, trainer, case.start, case.log_lambda, case.rows(x)), case.target)
    )
    way = jnp.asarray(np.random.default_rng(1).normal(size=free.shape))
    step = 1e-5
    quotient = (run(free + step * way) - run(free - step * way)) / (2 * step)
    np.testing.assert_allclose(jnp.sum(back.x * way), quotient, rtol=1e-6, atol=1e-10)
