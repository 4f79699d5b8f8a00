"""Cross-validation of lambda against folds trained one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import digits, plain_loss

from poisoncli.core.losses import cross_entropy
from poisoncli.core.victim import Objective
from poisoncli.models.logistic import Logistic
from poisoncli.training import cross_validation
from poisoncli.training.cross_validation import best_log_lambda, grid, held_out_loss
from poisoncli.training.descent import fit
from poisoncli.training.layout import lay_out
from poisoncli.training.trainers import SGD

OBJECTIVE, TRAINER = Objective(Logistic(), cross_entropy, "l2", 12.0), SGD(0.5, 30)


@pytest.mark.parametrize("n", [2, 20, 5000])
def test_the_grid_leads_from_no_penalty_to_lambda_1(n):
    values = grid(n)
    np.testing.assert_allclose(values[[0, -1]], [-8, np.log(n)])
    assert np.all((np.diff(values) > 0.4) & (np.diff(values) < 0.6))


@pytest.fixture(autouse=True)
def double():
    """Float64, so that agreement is no accident."""
    with jax.enable_x64(True):
        yield


@pytest.mark.long
def test_held_out_loss_is_that_of_folds_trained_one_by_one():
    train, values, key = digits(12, 3), jnp.array([-1.0, 1.5]), jax.random.key(4)
    found = held_out_loss(key, OBJECTIVE, TRAINER, train, values, 3)
    first, second = jax.random.split(key)
    fold = np.asarray(jax.random.permutation(first, jnp.arange(12) % 3))
    assert np.bincount(fold).tolist() == [4, 4, 4]
    start = jax.tree.map(lambda leaf: leaf.astype(float), OBJECTIVE.model.init(second, 64))
    for value, mean in zip(values, found, strict=True):
        losses = []
        for k in range(3):
            weight = train.weight * (fold != k)  # the first row has weight 0: in no fold
            kept = lay_out(train._replace(weight=weight))
            params = fit(OBJECTIVE, TRAINER, start, value[None], kept)
            losses.append(plain_loss(params, train._replace(weight=train.weight - weight)))
        np.testing.assert_allclose(mean, np.mean(losses), rtol=1e-9)


def test_the_value_with_the_least_loss_is_chosen(monkeypatch):
    train = digits(12, 3)
    values = grid(12)
    monkeypatch.setattr(cross_validation, "held_out_loss", lambda *at: (np.asarray(at[-1]) - values[5]) ** 2)
    assert best_log_lambda(jax.random.key(0), OBJECTIVE, TRAINER, train) == values[5]
