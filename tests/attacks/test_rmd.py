"""The bilevel attack: how lambda is learned, its outer rules and its restarts."""

import dataclasses

import jax
import numpy as np
import pytest
from settings_of_lambda import ATTACK, LEARN, STARTS, problem

from poisoncli.attacks.rmd import RMD
from poisoncli.bilevel import schedule
from poisoncli.bilevel.initial_poison import flipped_validation, with_room
from poisoncli.bilevel.outer_rules import OUTER
from poisoncli.core.attack import Threat
from poisoncli.core.data import Data
from poisoncli.core.errors import PoisonError
from poisoncli.models.logistic import Logistic
from poisoncli.models.mlp import MLP
from poisoncli.training.descent import fit
from poisoncli.training.layout import lay_out
from poisoncli.training.trainers import SGD, Momentum


@pytest.mark.long
@pytest.mark.parametrize("rule", OUTER)
def test_a_rule_goes_on_from_any_step_to_the_same_bits(standard, monkeypatch, rule):
    monkeypatch.setattr(schedule, "CALL_SECONDS", 0)
    attack = dataclasses.replace(ATTACK, outer=rule)
    whole = problem(Logistic(), STARTS, LEARN)
    steps = list(attack.craft(jax.random.key(3), whole))
    assert steps[-1].memory.size == 0
    for begun in (steps[5], steps[6]):  # within a batch
        *_, end = attack.craft(jax.random.key(3), whole, begun)
        for name, left, right in zip(end._fields, end, steps[-1], strict=True):
            np.testing.assert_array_equal(left, right, err_msg=name)


@pytest.mark.long
def test_lambda_learned_on_clean_rows_is_kept(strict):
    both = dataclasses.replace(ATTACK, log_lambda_start=1.5)
    whole = problem(Logistic(), STARTS[:2], np.array([True, True]))._replace(clean_only=np.array([True, False]))
    *_, end = both.craft(jax.random.key(3), whole)
    kept, anew = end.log_lambda[::2, :, 0], end.log_lambda[1::2, :, 0]
    np.testing.assert_array_equal(kept, np.repeat(kept[:, :1], 4, axis=1))
    np.testing.assert_array_equal(kept[:, 0], anew[:, 0])
    assert np.all(kept[:, 0] != 1.5)
    assert np.all(np.isfinite(end.loss[::2]))


def test_a_warm_lambda_goes_on_from_the_last_batch(strict):
    attack = dataclasses.replace(ATTACK, outer_steps=1, outer_rate=np.float64(0.25))
    whole = problem(Logistic(), STARTS[2:], LEARN[2:])
    for warm in (False, True):
        *_, end = dataclasses.replace(attack, warm=warm).craft(jax.random.key(3), whole)
        steps = np.diff(np.c_[np.zeros(2), end.log_lambda[:, :, 0]], axis=1) if warm else end.log_lambda[:, :, 0]
        np.testing.assert_allclose(np.abs(steps), 0.25)


@pytest.mark.long
def test_lambda_may_have_a_step_size_of_its_own(strict):
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


@pytest.mark.long
def test_restarts_find_a_better_lambda_for_the_clean_rows(strict):
    """From a start that is far off, few steps lead nowhere; the best of other starts is nearer."""
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


@pytest.mark.long
@pytest.mark.parametrize("model", [Logistic(), MLP(hidden=(4, 3), leak=np.float64(0.1))])
def test_restarts_find_stronger_points(strict, model):
    """The first start of the first batch is that without restarts, so the best of all is at least as strong."""
    whole = problem(model, STARTS, LEARN)
    *_, plain = ATTACK.craft(jax.random.key(3), whole)
    *_, best = dataclasses.replace(ATTACK, restarts=3).craft(jax.random.key(3), whole)
    assert [leaf.shape for leaf in best[:6]] == [leaf.shape for leaf in plain[:6]]
    np.testing.assert_array_equal(best.y, plain.y)
    assert np.all(best.loss[:, 1, -1] >= plain.loss[:, 1, -1] - 1e-9)
    assert np.any(best.loss[:, 1, -1] > plain.loss[:, 1, -1] + 1e-6)
    assert np.all((best.x >= 0) & (best.x <= 1))


@pytest.mark.long
def test_restarts_go_on_from_any_step_to_the_same_bits(strict):
    attack, whole = dataclasses.replace(ATTACK, restarts=2), problem(Logistic(), STARTS[1:], LEARN[1:])
    history = list(attack.craft(jax.random.key(3), whole))
    for begun in history[:-1]:
        *_, end = attack.craft(jax.random.key(3), whole, begun)
        for one, other in zip(end, history[-1], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.long
def test_the_attackers_trainer_may_be_another_than_the_victims(strict):
    def points(victim, **inner):
        attack = dataclasses.replace(ATTACK, **inner)
        whole = problem(Logistic(), STARTS[:1], LEARN[:1])._replace(trainer=victim)
        *_, end = attack.craft(jax.random.key(3), whole)
        return end.x

    rate = np.float64(0.1)
    small, whole = SGD(rate, size=5), SGD(rate)
    np.testing.assert_array_equal(points(small, inner_size=0), points(whole))  # RCH Appendix C.2
    assert not np.array_equal(points(small), points(whole))
    np.testing.assert_array_equal(points(whole, inner_size=5), points(small))
    np.testing.assert_array_equal(points(whole, inner_trainer="sgd"), points(whole))
    momentum = Momentum(rate, np.float64(0.9))
    np.testing.assert_array_equal(points(momentum, inner_trainer="sgd"), points(whole))


@pytest.mark.long
@pytest.mark.parametrize("learn", [False, True])
def test_points_are_added_to_rows_that_all_stay(strict, monkeypatch, learn):
    monkeypatch.setattr(schedule, "CALL_SECONDS", 0)
    attack = dataclasses.replace(ATTACK, place="append", start_class=0, outer_steps=2)
    whole = problem(Logistic(), STARTS[2:], np.array([learn]))
    steps = list(attack.craft(jax.random.key(3), whole))
    for begun in steps[:-1]:
        *_, end = attack.craft(jax.random.key(3), whole, begun)
        for name, left, right in zip(end._fields, end, steps[-1], strict=True):
            np.testing.assert_array_equal(left, right, err_msg=name)
    assert np.all(end.replaced == -1)
    assert np.all(end.y == 1)  # flipped
    begin = flipped_validation(
        jax.random.fold_in(jax.random.key(3), 0), with_room(whole), whole.target, attack.outer_steps, 0
    )
    for r in range(2):
        rows = {tuple(row) for row in whole.target.x[r][whole.target.y[r] == 0]}
        assert {tuple(row) for row in begin.x[r]} <= rows  # copies of validation rows of that class
        assert len({tuple(row) for row in begin.x[r]}) == len(begin.x[r])
    # the loss before the first step is that of a training on all clean rows and the first points as they start
    free = int(end.counts[1])
    x = np.concatenate([whole.train.x[0], begin.x[0, :free]])
    y = np.concatenate([whole.train.y[0], begin.y[0, :free]])
    start = [{"w": np.zeros((1, x.shape[1])), "b": np.zeros(1)}]
    trainer, value = SGD(np.float64(0.1), attack.inner_steps), whole.log_lambda[0]
    params = fit(
        whole.objective, trainer, start, value, lay_out(Data(x, y, np.append(whole.train.weight[0], np.ones(free))))
    )
    target = Data(*(leaf[0] for leaf in whole.target))
    np.testing.assert_allclose(end.loss[0, 1, 0], whole.objective.clean_loss(params, target), rtol=1e-9)


def test_points_that_replace_rows_of_one_class(strict):
    attack = dataclasses.replace(ATTACK, start_class=1, outer_steps=1)
    whole = problem(Logistic(), STARTS[:1], LEARN[:1])
    *_, end = attack.craft(jax.random.key(3), whole)
    assert np.all(np.take_along_axis(whole.train.y, end.replaced, axis=1) == 1)
    assert np.all(end.y == 0)
    with pytest.raises(PoisonError, match="start_class"):
        list(attack.craft(jax.random.key(3), whole._replace(threat=Threat((0, 19), 0.0, 1.0))))
