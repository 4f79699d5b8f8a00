"""Settings of lambda that are solved together end where each ends alone."""

import dataclasses

import jax
import numpy as np
import pytest
from settings_of_lambda import ATTACK, LEARN, STARTS, problem

from poisoncli.bilevel import schedule
from poisoncli.bilevel.ascent import hyperiterations
from poisoncli.models.logistic import Logistic
from poisoncli.models.mlp import MLP


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


def test_together_goes_on_from_any_step_to_the_same_bits(strict, monkeypatch):
    monkeypatch.setattr(schedule, "CALL_SECONDS", 0)  # one outer step in a call
    whole = problem(Logistic(), STARTS, LEARN)
    steps = list(ATTACK.craft(jax.random.key(3), whole))
    for begun in steps[:-1:5]:
        *_, end = ATTACK.craft(jax.random.key(3), whole, begun)
        for name, left, right in zip(end._fields, end, steps[-1], strict=True):
            np.testing.assert_array_equal(left, right, err_msg=name)


def test_a_run_with_two_sizes_of_batches_compiles_two_programs(strict):
    before = hyperiterations._cache_size()
    whole = problem(Logistic(), STARTS[2:], LEARN[2:])
    list(dataclasses.replace(ATTACK, outer_steps=2, inner_steps=5).craft(jax.random.key(3), whole))
    assert np.unique(np.diff(whole.threat.counts)).size == 2
    assert 1 <= hyperiterations._cache_size() - before <= 2
