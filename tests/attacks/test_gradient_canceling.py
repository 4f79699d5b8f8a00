"""Gradient canceling: its slopes, what it cancels, and the damage that follows."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import digits

from poisoncli.attacks.gradient_canceling import half_square, remaining, share_left, to_cancel
from poisoncli.core.data import Data
from poisoncli.core.errors import PoisonError
from poisoncli.core.losses import cross_entropy, softmax_cross_entropy
from poisoncli.core.victim import Objective
from poisoncli.models.cnn import CNN
from poisoncli.models.logistic import Logistic
from poisoncli.models.mlp import MLP
from poisoncli.reports import summary
from poisoncli.runs import replay, run_file, stages
from poisoncli.runs.description import Choice, Run
from poisoncli.runs.prepare import restore
from poisoncli.training.descent import gradient
from poisoncli.training.layout import lay_out

NAME = "gradient-canceling"
POINTS = 4


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Mapping:
    """A network as a user might write it: its parameters a mapping."""

    def init(self, key, m, outputs=1):
        one, two = jax.random.split(key)
        return {"in": 0.3 * jax.random.normal(one, (m, 5)), "out": 0.5 * jax.random.normal(two, (5, outputs))}

    def output(self, params, x):
        h = jnp.tanh(x @ params["in"]) @ params["out"]
        return h[:, 0] if h.shape[1] == 1 else h


MODELS = {
    "logistic": (Logistic(), 1),
    "softmax": (Logistic(), 3),
    "mlp": (MLP(hidden=(4, 3), leak=jnp.asarray(0.1), bias=jnp.asarray(0.1)), 1),
    "cnn": (CNN(channels=(2, 3), dense=4, kernel=3, leak=jnp.asarray(0.1), bias=jnp.asarray(0.1)), 3),
    "a mapping": (Mapping(), 3),
}


def problem(kind):
    """An objective, parameters that are no optimum, clean rows, poison rows with their labels, and log_lambda."""
    model, outputs = MODELS[kind]
    classes = (0, 8) if outputs == 1 else (0, 3, 8)
    loss = cross_entropy if outputs == 1 else softmax_cross_entropy
    objective = Objective(model, loss, "l2", 14.0, outputs=outputs)
    params = objective.init(jax.random.key(3), 64, jnp.float64)
    draw = np.random.default_rng(4)
    params = jax.tree.map(lambda leaf: leaf + 0.1 * draw.normal(size=leaf.shape), params)
    clean, poison = digits(14, 1, classes), digits(POINTS + 1, 7, classes)
    return objective, params, clean, Data(*(leaf[1:] for leaf in poison)), jnp.asarray([0.3])


@pytest.mark.parametrize("kind", MODELS)
def test_slopes_agree_with_finite_differences(strict, kind):
    objective, params, clean, poison, log_lambda = problem(kind)
    canceled = to_cancel(objective, params, Data(*map(jnp.asarray, clean)), log_lambda, jnp.asarray(poison.y))
    x, step = jnp.asarray(poison.x), 1e-5
    both = jax.jit(jax.value_and_grad(lambda x: half_square(objective, canceled, x)))
    slope = both(x)[1]
    moves = np.random.default_rng(0).normal(size=(12, *x.shape))
    found = [(both(x + step * move)[0] - both(x - step * move)[0]) / (2 * step) for move in moves]
    along = np.tensordot(moves, slope, 2)
    assert np.linalg.norm(along) > 1e-3
    assert np.linalg.norm(along - np.array(found)) <= 1e-6 * np.linalg.norm(along)


@pytest.mark.parametrize("kind", MODELS)
def test_what_remains_is_the_gradient_of_the_objective_on_clean_rows_and_poison(strict, kind):
    objective, params, clean, poison, log_lambda = problem(kind)
    canceled = to_cancel(objective, params, Data(*map(jnp.asarray, clean)), log_lambda, jnp.asarray(poison.y))
    left = jax.jit(remaining)(objective, canceled, jnp.asarray(poison.x))
    both = Data(*(jnp.concatenate(parts) for parts in zip(clean, poison, strict=True)))
    whole, _ = jax.jit(gradient)(objective, params, log_lambda, lay_out(both))
    for one, other in zip(jax.tree.leaves(left), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-14, rtol=1e-10)
    size = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(whole)))
    rest = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(canceled.rest)))
    assert float(share_left(objective, canceled, jnp.asarray(poison.x))) == pytest.approx(size / rest, rel=1e-10)


def test_slopes_of_logistic_regression_are_the_formula(strict):
    """With r = rest + mean (s(z) - y) (x, 1) / ...: d/dx of |r|^2 / 2, written out."""
    objective, params, clean, poison, log_lambda = problem("logistic")
    canceled = to_cancel(objective, params, Data(*map(jnp.asarray, clean)), log_lambda, jnp.asarray(poison.y))
    x, y, w, b = poison.x, poison.y, np.asarray(params[0]["w"][0]), float(params[0]["b"][0])
    share = POINTS / (13 + POINTS)  # one clean row has weight 0
    pushed = 1 / (1 + np.exp(-(x @ w + b)))
    slope = pushed - y
    r_w = np.asarray(canceled.rest[0]["w"][0]) + share * slope @ x / POINTS
    r_b = float(canceled.rest[0]["b"][0]) + share * slope.mean()
    bend = pushed * (1 - pushed) * (x @ r_w + r_b)
    formula = share / POINTS * (slope[:, None] * r_w + bend[:, None] * w)
    found = jax.grad(lambda x: half_square(objective, canceled, x))(jnp.asarray(x)) * canceled.size
    np.testing.assert_allclose(found, formula, rtol=1e-9, atol=1e-14)


def crafted(tmp_path, options=(), method=NAME, **changes):
    given = {"outer_steps": 100} if method == NAME else {}
    run = Run(dataset="breast-cancer", attack=Choice(method, {**given, **dict(options)}), fraction=0.1)  # type: ignore[arg-type]
    path = stages.attack(dataclasses.replace(run, **changes), tmp_path / "run.h5", force=True)
    return stages.evaluate(path)


def error(content):
    return content.evaluations["none"].test_error[:, -1].mean()


def test_damage_beats_flips(tmp_path):
    flips = crafted(tmp_path, {"batch": 24}, "flip", repetitions=2)
    clipped = crafted(tmp_path, repetitions=2)
    free = crafted(tmp_path, {"box": "none"}, repetitions=2)
    assert error(clipped) > error(flips) + 0.03
    assert error(free) > error(clipped) + 0.1
    assert summary.label(free).startswith("gradient-canceling (box=none)")


@pytest.mark.parametrize("box", ["clip", "none"])
def test_rows_are_added_in_their_box_or_out_of_it(tmp_path, box):
    content = crafted(tmp_path, {"box": box, "decoy": "flips", "strengths": (0.5,)})
    outside = replay.outside_domain(restore(content), content.poison)
    assert (outside > 0) == (box == "none")
    assert np.all(content.poison.replaced == -1)
    assert content.poison.x.shape[1] == 24
    assert set(map(float, content.poison.y[0])) == {0.0, 1.0}


def test_the_gradient_that_is_left_falls(tmp_path, caplog):
    """Far, where rows may go anywhere."""
    caplog.set_level("DEBUG", "poisoncli.attacks")
    left = {}
    for steps in (1, 300):
        caplog.clear()
        options = {"box": "none", "decoy": "flips", "strengths": (0.15,), "outer_steps": steps}
        crafted(tmp_path, options)
        left[steps] = float(caplog.messages[-1].split(": ")[1].split(" ")[0])
    assert left[300] < 0.05 < 0.3 < left[1]


def test_the_best_decoy_wins(tmp_path):
    """What is kept does to the target rows what the trace says at its highest."""
    content = crafted(tmp_path, {"strengths": (0.05, 0.5)})
    trace = content.poison.loss[0, 1]
    assert trace.shape == (4,)
    assert np.isfinite(trace).all()
    found = content.evaluations["none"].val_error[0, 1]
    assert found == pytest.approx(trace.max(), abs=1e-6)  # logistic regression starts at zero, whatever the key


def test_rows_are_pushed_to_a_label(tmp_path):
    long = {"strengths": (2.0,), "outer_steps": 500}
    content = crafted(
        tmp_path,
        {"target": "class:0", "target_label": "1", "decoy": "flips", "box": "none", **long},
        dataset=Choice("digits", {"classes": (0, 1, 3)}),
        n_train=120,
        n_val=60,
        n_test=60,
        fraction=0.2,
    )
    rate = content.evaluations["none"].target_rate[0]
    assert rate[1] > rate[0] + 0.1
    assert rate[1] == pytest.approx(content.poison.loss[0, 1].max(), abs=1e-6)


@pytest.mark.long
def test_a_network_is_attacked(tmp_path):
    own = {"model": Choice("mlp", {"hidden": (8,)}), "trainer": Choice("sgd", {"epochs": 100, "rate": 0.3})}
    flips = crafted(tmp_path, {"batch": 24}, "flip", **own)
    content = crafted(tmp_path, **own)
    assert error(content) > error(flips) + 0.03


def test_labels_are_flipped_as_asked(tmp_path):
    sizes = {"n_train": 90, "n_val": 60, "n_test": 60}
    options = {"labels": "flipped", "poison_label": "8", "strengths": (0.5,), "outer_steps": 2}
    content = crafted(tmp_path, options, dataset=Choice("digits", {"classes": (0, 3, 8)}), **sizes)
    assert np.all(content.poison.y == 2)


def test_a_lambda_counts_among_what_is_canceled(tmp_path):
    content = crafted(tmp_path, {"strengths": (0.5,)}, reg="l2", lambda_=0.05)
    assert np.all(content.poison.log_lambda == np.float32(np.log(0.05 * 240)))
    with pytest.raises(PoisonError, match="does not learn lambda"):
        crafted(tmp_path, learn_lambda=True)


def test_too_little_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("POISON_MEMORY", "0.01")
    model = Choice("mlp", {"hidden": (100_000,)})
    with pytest.raises(PoisonError, match="of memory, and the limit is"):
        crafted(tmp_path, model=model)


def test_a_victim_that_diverges_wins_nothing(tmp_path):
    """Rows beyond all numbers would win every target row by accident."""
    content = crafted(tmp_path, {"box": "none", "outer_rate": 1e30, "strengths": (0.5,)})
    assert np.all(content.poison.loss[0, 1] == 0)
    assert run_file.read(tmp_path / "run.h5").poison.done == content.poison.total
