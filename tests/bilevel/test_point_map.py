"""The maps of HLP Fig. 1: what a row does where it lies, all places at once, against one place after another."""

import jax
import jax.numpy as jnp
import numpy as np
from cases import digits

from poisoncli.bilevel.point_map import best, scores
from poisoncli.core.losses import error_rate
from poisoncli.training.descent import fit
from poisoncli.training.layout import lay_out
from poisoncli.training.trainers import SGD


def test_every_place_is_a_training_of_its_own(case):
    case = case("logistic", "l2")
    train = jax.tree.map(jnp.asarray, case.train)
    val = jax.tree.map(jnp.asarray, digits(10, 3))
    places = jnp.asarray(np.random.default_rng(0).uniform(size=(5, 64)))
    tried = jnp.asarray([-jnp.inf, 1.5])
    objective = case.objective
    key = jax.random.key(0)
    loss, error = scores(key, objective, SGD(0.5, 12), train, val, places, tried, error=error_rate)
    assert loss.shape == error.shape == (5, 2)
    start = [{"w": jnp.zeros((1, 64)), "b": jnp.zeros(1)}]
    for p, g in np.ndindex(5, 2):
        moved = train._replace(x=train.x.at[-1].set(places[p]))
        params = fit(objective, SGD(0.5, 12), start, tried[g : g + 1], lay_out(moved))
        np.testing.assert_allclose(loss[p, g], objective.clean_loss(params, val), rtol=1e-9)
        logit = val.x @ params[0]["w"][0] + params[0]["b"]
        wrong = np.where((logit > 0) != (val.y > 0.5), val.weight, 0)
        np.testing.assert_allclose(error[p, g], wrong.sum() / val.weight.sum())


def test_best_is_the_least_loss_and_of_equal_ones_the_largest():
    tried = jnp.array([-8.0, 0.0, 4.0])
    loss = jnp.array([[0.2, 0.1, 0.3], [0.1, 0.1, 0.2], [0.3, 0.2, 0.1]])
    np.testing.assert_array_equal(best(tried, loss), [0.0, 0.0, 4.0])
