"""The stealthy attack: its damage, its box, its batches, and that it goes on from any step."""

import jax
import numpy as np
import pytest
from regression_run import RUN, SMALL, crafted

import poisoncli
from poisoncli import Choice, Run
from poisoncli.runs import description, prepare, run_file
from poisoncli.runs.problem import problem as problem_of


@pytest.mark.long
def test_the_attack_hurts_more_than_its_baselines_and_alpha_trades(tmp_path):
    damage = {}
    for name, run, changes in (
        ("full", RUN, {"outer_steps": 12}),
        ("half", RUN, {"outer_steps": 12, "alpha": 0.1}),
        ("flip", Run(**{**RUN.__dict__, "attack": Choice("flip", {"batch": 9})}), {}),
    ):
        content = poisoncli.evaluate(crafted(tmp_path, run, f"{name}.h5", **changes))
        damage[name] = content.evaluations["none"].test_error.mean(0)
        assert np.all(np.isfinite(damage[name]))
    assert damage["full"][-1] > damage["flip"][-1]
    assert damage["full"][-1] > damage["half"][-1] > damage["full"][0]


@pytest.mark.parametrize("method", ["stealthy", "flip", "statp"])
def test_poison_stays_in_the_box_and_batches_are_frozen(tmp_path, method):
    options = SMALL if method == "stealthy" else {"batch": 9}
    content = run_file.read(crafted(tmp_path, Run(**{**RUN.__dict__, "attack": Choice(method, options)})))
    train = prepare.restore(content).split.train
    poison, slack = content.poison, 1e-5
    assert np.all(poison.x >= train.x.min(1)[:, None] - slack)
    assert np.all(poison.x <= train.x.max(1)[:, None] + slack)
    assert np.all((poison.y >= train.y.min(1)[:, None] - slack) & (poison.y <= train.y.max(1)[:, None] + slack))
    np.testing.assert_array_equal(poison.counts, [0, 9, 18])


def test_a_later_batch_leaves_the_earlier_ones_alone(tmp_path):
    one = run_file.read(crafted(tmp_path, Run(**{**RUN.__dict__, "fraction": 0.15}), "one.h5"))
    two = run_file.read(crafted(tmp_path))
    np.testing.assert_allclose(one.poison.x, two.poison.x[:, :9], atol=1e-5)
    np.testing.assert_allclose(one.poison.y, two.poison.y[:, :9], atol=1e-5)


@pytest.mark.parametrize("stop", [3, 8, 11])
def test_an_interrupted_attack_goes_on_to_the_same_bits(stop):
    prepared = prepare.prepare(
        description.resolve(Run(**{**RUN.__dict__, "attack": Choice("stealthy", {**SMALL, "alpha": 0.3})}))
    )
    method, problem = description.build(prepared.run.attack, "attack"), problem_of(prepared)

    def copied(poison):
        return poison._replace(
            **{k: np.array(getattr(poison, k)) for k in ("x", "y", "loss", "scales", "trail", "log_lambda")}
        )

    states = [copied(state) for state in method.craft(jax.random.key(0), problem)]
    assert states[-1].done == states[-1].total == len(states) * (states[0].done)
    begun = copied(states[min(stop, len(states)) - 2])
    *_, last = method.craft(jax.random.key(0), problem, begun)
    for name in ("x", "y", "loss", "scales", "trail"):
        np.testing.assert_array_equal(getattr(last, name), getattr(states[-1], name))


def test_what_is_left_to_the_victim_is_the_victims(tmp_path):
    trainer = Choice("sgd", {"rate": 0.05, "epochs": 7})
    run = Run(**{**RUN.__dict__, "trainer": trainer})
    own = run_file.read(crafted(tmp_path, run, "own.h5", inner_rate=0.05, inner_steps=7)).poison
    left = run_file.read(crafted(tmp_path, run, "left.h5", inner_rate=0, inner_steps=0)).poison
    np.testing.assert_array_equal(left.x, own.x)
    assert not np.array_equal(own.x, run_file.read(crafted(tmp_path, run, "other.h5", inner_rate=0.1)).poison.x)
