"""Settings of lambda that are solved together end where each ends alone."""

import dataclasses

import jax
import numpy as np
import pytest
from settings_of_lambda import ATTACK, LEARN, STARTS, problem

from poisoncli.bilevel import schedule
from poisoncli.bilevel.ascent import hyperiterations
from poisoncli.core.losses import away_margin
from poisoncli.models.logistic import Logistic
from poisoncli.models.mlp import MLP
from poisoncli.training.trainers import SGD, Momentum


@pytest.mark.long
@pytest.mark.parametrize("model", [Logistic(), MLP(hidden=(4, 3), leak=np.float64(0.1))])
def test_together_is_as_alone(strict, model):
    *_, together = ATTACK.craft(jax.random.key(3), problem(model, STARTS, LEARN))
    for s in range(3):
        *_, alone = ATTACK.craft(jax.random.key(3), problem(model, STARTS[s : s + 1], LEARN[s : s + 1]))
        np.testing.assert_allclose(together.x[s::3], alone.x, rtol=0, atol=1e-9)
        np.testing.assert_array_equal(together.y[s::3], alone.y)
        np.testing.assert_allclose(together.log_lambda[s::3], alone.log_lambda, atol=1e-9)
        np.testing.assert_allclose(together.loss[s::3], alone.loss, atol=1e-9)
        np.testing.assert_array_equal(together.replaced, alone.replaced)
    assert np.ptp(together.x[:3], axis=0).max() > 1e-3  # the settings do differ


OPTIONS = ("outer_rate", "lambda_rate", "log_lambda_start", "log_lambda_min", "log_lambda_max", "inner_rate")
VARIED = {
    "outer_rate": [0.3, 0.1, 0.2],
    "lambda_rate": [0.0, 0.05, 0.15],
    "log_lambda_start": [0.0, 1.0, -1.0],
    "log_lambda_min": [-8.0, -2.0, -1.5],
    "log_lambda_max": [np.inf, 2.1, 0.5],
    "inner_rate": [0.1, 0.0, 0.2],
    "trainer.rate": [0.1, 0.05, 0.3],
}


@pytest.mark.sampled
@pytest.mark.parametrize("trainer", [SGD(0.1), pytest.param(Momentum(0.1), marks=pytest.mark.long)])
def test_together_may_differ_in_rates_penalties_and_targets(strict, trainer):
    learn = np.array([False, True, True])
    whole = problem(Logistic(), STARTS, learn)._replace(trainer=trainer)
    # few whole numbers add up to zero or to nearly zero, as rounding has it, where the L1 penalty has its kink
    uneven = whole.train.x * np.random.default_rng(0).uniform(0.9, 1, whole.train.x.shape)
    whole = whole._replace(train=whole.train._replace(x=uneven))
    weight = np.stack([whole.target.weight, whole.target.y == 1, whole.target.y == 0], 1)
    y = np.stack([whole.target.y, whole.target.y, 1 - whole.target.y], 1)
    margin = {"outer": away_margin}
    joint = whole._replace(
        objective=dataclasses.replace(whole.objective, reg="mixed", l1=np.array([0.0, 1.0, 0.0]), **margin),
        target=whole.target._replace(y=y, weight=weight.astype(float)),
        trusted=whole.target,
        varied={name: np.array(values) for name, values in VARIED.items()},
    )
    *_, together = ATTACK.craft(jax.random.key(3), joint)
    for s in range(3):
        own = {name: np.float64(VARIED[name][s]) for name in OPTIONS}
        alone = problem(Logistic(), STARTS[s : s + 1], learn[s : s + 1])._replace(
            train=whole.train,
            trainer=dataclasses.replace(trainer, rate=np.float64(VARIED["trainer.rate"][s])),
            objective=dataclasses.replace(whole.objective, reg="l1" if s == 1 else "l2", **margin),
            target=whole.target._replace(y=y[:, s], weight=weight[:, s].astype(float)),
            trusted=whole.target,
        )
        *_, end = dataclasses.replace(ATTACK, **own).craft(jax.random.key(3), alone)
        for name in ("x", "log_lambda", "loss"):
            np.testing.assert_allclose(getattr(together, name)[s::3], getattr(end, name), rtol=0, atol=1e-9)
    assert np.ptp(together.x[:3], axis=0).max() > 1e-3


def test_together_goes_on_from_any_step_to_the_same_bits(strict, monkeypatch):
    monkeypatch.setattr(schedule, "CALL_SECONDS", 0)  # one outer step in a call
    whole = problem(Logistic(), STARTS, LEARN)
    steps = list(ATTACK.craft(jax.random.key(3), whole))
    for begun in steps[:-1:5]:
        *_, end = ATTACK.craft(jax.random.key(3), whole, begun)
        for name, left, right in zip(end._fields, end, steps[-1], strict=True):
            np.testing.assert_array_equal(left, right, err_msg=name)


@pytest.mark.long
def test_a_run_with_two_sizes_of_batches_compiles_two_programs(strict):
    before = hyperiterations._cache_size()
    whole = problem(Logistic(), STARTS[2:], LEARN[2:])
    list(dataclasses.replace(ATTACK, outer_steps=2, inner_steps=5).craft(jax.random.key(3), whole))
    assert np.unique(np.diff(whole.threat.counts)).size == 2
    assert 1 <= hyperiterations._cache_size() - before <= 2
