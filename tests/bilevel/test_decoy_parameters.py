"""Decoys: within reach of the clean victim, and worse than it on the target rows."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import digits

from poisoncli.bilevel.decoy_parameters import by_ascent, by_flips, trained
from poisoncli.core.data import Data
from poisoncli.core.losses import cross_entropy, error_rate, softmax_cross_entropy
from poisoncli.core.victim import Objective, predict
from poisoncli.models.logistic import Logistic
from poisoncli.training.trainers import SGD

CLASSES = {1: (0, 8), 3: (0, 3, 8)}


@pytest.fixture(params=[1, 3])
def several(request, standard):
    """Objective, trainer, clean rows, target rows, log_lambda, and the clean victim."""
    outputs = request.param
    loss = cross_entropy if outputs == 1 else softmax_cross_entropy
    objective = Objective(Logistic(), loss, "none", 60.0, outputs=outputs)
    train, target = (Data(*map(jnp.asarray, digits(rows, rows, CLASSES[outputs]))) for rows in (60, 30))
    trainer, log_lambda = SGD(0.3, 100), jnp.asarray([-jnp.inf])
    clean = trained(jax.random.key(0), objective, trainer, train, log_lambda)
    return objective, trainer, train, target, log_lambda, clean


def test_ascent_ends_on_the_sphere_and_raises_the_loss(several):
    objective, _, _, target, _, clean = several
    last = objective.clean_loss(clean, target)
    for radius in (0.1, 0.5, 2.0):
        found = by_ascent(objective, clean, target, jnp.asarray(radius))
        way = optax.tree.norm(optax.tree.sub(found, clean))
        assert float(way) == pytest.approx(radius * float(optax.tree.norm(clean)), rel=1e-9)
        before, last = last, objective.clean_loss(found, target)
        assert last > before
    assert error_rate(predict(objective.model, found, target.x), target.y, target.weight) > 0.5


def test_flips_teach_other_labels(several):
    objective, trainer, train, target, log_lambda, clean = several
    rows, key = (train, target), jax.random.key(0)
    wrong = []
    for share in (0.01, 1.0, 20.0):
        found = by_flips(key, objective, trainer, clean, rows, log_lambda, jnp.asarray(share), pushed=False)
        wrong.append(float(error_rate(predict(objective.model, found, target.x), target.y, target.weight)))
    assert wrong[0] < 0.2 < wrong[1] <= wrong[2]
    assert wrong[2] > 0.9
    wanted = target._replace(y=jnp.zeros_like(target.y))
    pushed = by_flips(key, objective, trainer, clean, (train, wanted), log_lambda, jnp.asarray(20.0), pushed=True)
    assert error_rate(predict(objective.model, pushed, target.x), wanted.y, target.weight) < 0.1


def test_flipped_rows_weigh_as_asked(several):
    """Rows that weigh one fifth of the clean ones pull with a sixth of the gradient's mean."""
    objective, _, train, target, log_lambda, clean = several
    once = SGD(1.0, 1)  # a single step from zero: minus the gradient there
    found = by_flips(
        jax.random.key(0), objective, once, clean, (train, train), log_lambda, jnp.asarray(0.2), pushed=True
    )
    alone = trained(jax.random.key(0), objective, once, train, log_lambda)
    np.testing.assert_allclose(found[0]["w"], alone[0]["w"], atol=1e-12)
    assert target.y.shape == (30,)
