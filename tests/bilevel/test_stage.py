"""Settings of lambda that are solved together end where each ends alone."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from cases import digits

from poisoncli.attacks.rmd import RMD
from poisoncli.bilevel import schedule
from poisoncli.bilevel.ascent import hyperiterations
from poisoncli.bilevel.initial_poison import other_class
from poisoncli.bilevel.outer_rules import OUTER, outer_direction
from poisoncli.core.attack import Problem, Threat
from poisoncli.core.data import Data
from poisoncli.core.losses import cross_entropy
from poisoncli.core.victim import Objective
from poisoncli.models.logistic import Logistic
from poisoncli.models.mlp import MLP
from poisoncli.training.trainers import SGD


@pytest.fixture
def standard(strict):
    """Optax promotes types silently."""
    import jax

    with jax.numpy_dtype_promotion("standard"):
        yield


ATTACK = RMD(outer_steps=4, inner_steps=6, outer_rate=np.float64(0.3), inner_rate=np.float64(0.1))
STARTS = np.array([[-np.inf], [2.0], [0.0]])
LEARN = np.array([False, False, True])


def problem(model: Any, log_lambda: np.ndarray, learn: np.ndarray) -> Problem:
    """Two repetitions, with `log_lambda` [settings, 1] in each."""
    train, target = (
        Data(*(np.stack(leaves) for leaves in zip(digits(rows, seed), digits(rows, seed + 1), strict=True)))
        for rows, seed in ((20, 1), (10, 5))
    )
    objective = Objective(model, cross_entropy, "l2", 20.0)
    threat = Threat((0, 2, 4, 5), np.float64(0), np.float64(1))
    return Problem(train, target, objective, SGD(), threat, np.tile(log_lambda, (2, 1)), learn, settings=len(learn))


@pytest.mark.parametrize("model", [Logistic(), MLP(hidden=(4, 3), leak=np.float64(0.1))])
def test_together_is_as_alone(strict, model):
    import jax

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
    import jax

    monkeypatch.setattr(schedule, "CALL_SECONDS", 0)  # one outer step in a call
    whole = problem(Logistic(), STARTS, LEARN)
    steps = list(ATTACK.craft(jax.random.key(3), whole))
    for begun in steps[:-1:5]:
        *_, end = ATTACK.craft(jax.random.key(3), whole, begun)
        for name, left, right in zip(end._fields, end, steps[-1], strict=True):
            np.testing.assert_array_equal(left, right, err_msg=name)


@pytest.mark.parametrize("rule", OUTER)
def test_a_rule_goes_on_from_any_step_to_the_same_bits(standard, monkeypatch, rule):
    import jax

    monkeypatch.setattr(schedule, "CALL_SECONDS", 0)
    attack = dataclasses.replace(ATTACK, outer=rule)
    whole = problem(Logistic(), STARTS, LEARN)
    steps = list(attack.craft(jax.random.key(3), whole))
    assert steps[-1].memory.size == 0
    for begun in (steps[5], steps[6]):  # within a batch
        *_, end = attack.craft(jax.random.key(3), whole, begun)
        for name, left, right in zip(end._fields, end, steps[-1], strict=True):
            np.testing.assert_array_equal(left, right, err_msg=name)


def test_rules_are_those_of_their_definitions(standard):
    import jax.numpy as jnp

    slopes = [np.array([1.0, -2.0]), np.array([0.5, 3.0]), np.array([-1.0, 0.1])]
    memory, mean, square = np.zeros((2, 2)), np.zeros(2), np.zeros(2)
    for t, slope in enumerate(slopes):
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        found, memory = outer_direction("adam", jnp.asarray(slope), jnp.asarray(memory), jnp.asarray(t))
        expected = mean / (1 - 0.9 ** (t + 1)) / (np.sqrt(square / (1 - 0.999 ** (t + 1))) + 1e-8)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    first, memory = outer_direction("optimistic", jnp.asarray(slopes[0]), jnp.zeros((1, 2)), jnp.asarray(0))
    second, _ = outer_direction("optimistic", jnp.asarray(slopes[1]), memory, jnp.asarray(1))
    np.testing.assert_array_equal(first, slopes[0])
    np.testing.assert_array_equal(second, 2 * slopes[1] - slopes[0])


def test_lambda_learned_on_clean_rows_is_kept(strict):
    import jax

    both = dataclasses.replace(ATTACK, log_lambda_start=1.5)
    whole = problem(Logistic(), STARTS[:2], np.array([True, True]))._replace(clean_only=np.array([True, False]))
    *_, end = both.craft(jax.random.key(3), whole)
    kept, anew = end.log_lambda[::2, :, 0], end.log_lambda[1::2, :, 0]
    np.testing.assert_array_equal(kept, np.repeat(kept[:, :1], 4, axis=1))
    np.testing.assert_array_equal(kept[:, 0], anew[:, 0])
    assert np.all(kept[:, 0] != 1.5)
    assert np.all(np.isfinite(end.loss[::2]))


def test_a_warm_lambda_goes_on_from_the_last_batch(strict):
    import jax

    attack = dataclasses.replace(ATTACK, outer_steps=1, outer_rate=np.float64(0.25))
    whole = problem(Logistic(), STARTS[2:], LEARN[2:])
    for warm in (False, True):
        *_, end = dataclasses.replace(attack, warm=warm).craft(jax.random.key(3), whole)
        steps = np.diff(np.c_[np.zeros(2), end.log_lambda[:, :, 0]], axis=1) if warm else end.log_lambda[:, :, 0]
        np.testing.assert_allclose(np.abs(steps), 0.25)


def test_lambda_may_have_a_step_size_of_its_own(strict):
    import jax

    whole = problem(Logistic(), STARTS[2:], LEARN[2:])
    *_, usual = dataclasses.replace(ATTACK, outer_steps=2).craft(jax.random.key(3), whole)
    *_, end = dataclasses.replace(ATTACK, outer_steps=2, lambda_rate=np.float64(0.125)).craft(
        jax.random.key(3), whole
    )
    assert set(np.abs(end.log_lambda.ravel())) <= {0.0, 0.25}
    assert 0.25 in np.abs(end.log_lambda)
    assert set(np.round(np.abs(usual.log_lambda.ravel()), 12)) <= {0.0, 0.6}
    assert not np.array_equal(end.x, usual.x)  # the points met another lambda in the second step


@pytest.mark.parametrize("schedule_of_lambda", ["default", "constant"])
def test_a_learned_lambda_settles_unless_the_paper_is_followed(strict, monkeypatch, schedule_of_lambda):
    import jax

    monkeypatch.setattr(schedule, "CALL_SECONDS", 0)
    options = {} if schedule_of_lambda == "default" else {"lambda_schedule": schedule_of_lambda}
    attack = RMD(
        outer_steps=8, inner_steps=6, outer_rate=np.float64(0.25), inner_rate=np.float64(0.1),
        log_lambda_min=-np.inf, **options,
    )  # fmt: skip
    whole = problem(Logistic(), STARTS[2:], LEARN[2:])
    states = list(attack.craft(jax.random.key(3), whole))
    for stage in range(4):
        path = [state.log_lambda[:, stage, 0] for state in states[8 * stage : 8 * stage + 8]]
        share = np.abs(np.diff(path, axis=0, prepend=0.0)) / 0.25
        falling = [1, 1, 1, 1, 1, 1, 1, 0.5]  # and 0 where a further step would be
        expected = falling if schedule_of_lambda == "default" else np.ones(8)
        np.testing.assert_allclose(share, np.broadcast_to(np.c_[expected], share.shape), atol=1e-12)
    for done in (6, 7, 8, 15):  # amid a fall, and between two stages
        *_, again = attack.craft(jax.random.key(3), whole, resume=states[done - 1])
        np.testing.assert_array_equal(again.log_lambda, states[-1].log_lambda)
        np.testing.assert_array_equal(again.x, states[-1].x)


def test_a_run_with_two_sizes_of_batches_compiles_two_programs(strict):
    import jax

    before = hyperiterations._cache_size()
    whole = problem(Logistic(), STARTS[2:], LEARN[2:])
    list(dataclasses.replace(ATTACK, outer_steps=2, inner_steps=5).craft(jax.random.key(3), whole))
    assert np.unique(np.diff(whole.threat.counts)).size == 2
    assert 1 <= hyperiterations._cache_size() - before <= 2


def test_as_many_settings_as_the_memory_holds(monkeypatch):
    whole = problem(Logistic(), STARTS, LEARN)
    each = 4 * (6 * 20 * 64 + 2 * 6 * (64 + 2) + 6 * 20)
    for memory, expected in ((2.5 * each, 2), (each / 2, 1)):
        monkeypatch.setattr(schedule, "CPU_MEMORY", int(memory))
        assert schedule.settings_that_fit(whole, 6) == expected


def test_restarts_find_a_better_lambda_for_the_clean_rows(strict):
    """From a start that is far off, few steps lead nowhere; the best of other starts is nearer."""
    import jax

    far = dataclasses.replace(ATTACK, log_lambda_start=3.0, outer_rate=np.float64(0.05))
    for learn in (np.array([True]), np.array([True, False])):
        whole = problem(Logistic(), np.array([[0.0], [1.0]])[: len(learn)], learn)
        ends = [
            list(dataclasses.replace(far, restarts=restarts).craft(jax.random.key(3), whole))[-1]
            for restarts in (0, 6, 6)
        ]
        plain, better, again = (end.loss[:: len(learn), 0, -1] for end in ends)
        np.testing.assert_array_equal(better, again)
        assert np.all(better <= plain)
        assert np.any(better < plain - 1e-3)
        assert np.all(ends[1].log_lambda[:: len(learn), 0] <= np.log(20))
        if len(learn) == 2:
            np.testing.assert_array_equal(ends[1].log_lambda[1::2], 1.0)


@pytest.mark.parametrize("model", [Logistic(), MLP(hidden=(4, 3), leak=np.float64(0.1))])
def test_restarts_find_stronger_points(strict, model):
    """The first start of the first batch is that without restarts, so the best of all is at least as strong."""
    import jax

    whole = problem(model, STARTS, LEARN)
    *_, plain = ATTACK.craft(jax.random.key(3), whole)
    *_, best = dataclasses.replace(ATTACK, restarts=3).craft(jax.random.key(3), whole)
    assert [leaf.shape for leaf in best[:6]] == [leaf.shape for leaf in plain[:6]]
    np.testing.assert_array_equal(best.y, plain.y)
    assert np.all(best.loss[:, 1, -1] >= plain.loss[:, 1, -1] - 1e-9)
    assert np.any(best.loss[:, 1, -1] > plain.loss[:, 1, -1] + 1e-6)
    assert np.all((best.x >= 0) & (best.x <= 1))


def test_restarts_go_on_from_any_step_to_the_same_bits(strict):
    import jax

    attack, whole = dataclasses.replace(ATTACK, restarts=2), problem(Logistic(), STARTS[1:], LEARN[1:])
    history = list(attack.craft(jax.random.key(3), whole))
    for begun in history[:-1]:
        *_, end = attack.craft(jax.random.key(3), whole, begun)
        for one, other in zip(end, history[-1], strict=True):
            np.testing.assert_array_equal(one, other)


def test_other_starts_are_rows_of_the_other_class():
    x, y = np.arange(12.0).reshape(6, 2), np.array([0, 1, 0, 1, 1, 0])
    rng = np.random.default_rng(0)
    found = other_class(rng, x, y, np.array([1, 0, 1, 0, 1]))
    assert [y[int(row[0]) // 2] for row in found] == [0, 1, 0, 1, 0]
    assert len(np.unique(found, axis=0)) == 5
    assert len(other_class(rng, x, y, np.ones(7))) == 7  # more than there are
    assert other_class(rng, x, np.zeros(6), np.array([1, 0])) is None
