"""Bilevel poison and label flips against softmax regression and networks of more than two classes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from poisoncli.core.errors import PoisonError
from poisoncli.reports import summary
from poisoncli.runs import run_file, serialize, stages
from poisoncli.runs.description import Choice, Run
from poisoncli.runs.poisoned import poisoned
from poisoncli.runs.prepare import restore

DIGITS = Choice("digits", {"classes": (0, 1, 3, 8)})
SIZES = {"n_train": 120, "n_val": 60, "n_test": 120, "fraction": 0.2}


def crafted(tmp_path, attack, model="logistic", **changes):
    model = Choice(model) if isinstance(model, str) else model
    run = Run(dataset=DIGITS, model=model, attack=attack, **{**SIZES, **changes})
    path = stages.attack(run, tmp_path / f"{attack.name}.h5")
    return stages.evaluate(path)


def worst(content):
    return float(content.evaluations["none"].test_error[:, -1].mean())


@pytest.mark.sampled
@pytest.mark.parametrize(("model", "steps"), [("logistic", 20), ("mlp", 60)])
def test_bilevel_poison_beats_flips(tmp_path, model, steps):
    """Of the network over three splits: on a single one of this size test errors say little."""
    repetitions = 3 if model == "mlp" else 1
    flips = crafted(tmp_path, Choice("flip", {"batch": 24}), model, repetitions=repetitions)
    found = crafted(tmp_path, Choice("rmd", {"outer_steps": steps, "batch": 24}), model, repetitions=repetitions)
    own, other = found.evaluations["none"], flips.evaluations["none"]
    assert np.array_equal(own.test_error[:, 0], other.test_error[:, 0])
    assert np.all(own.val_loss[:, 1] > 1.3 * other.val_loss[:, 1])
    assert worst(found) > worst(flips) + (0.05 if model == "mlp" else 0.02)
    assert np.all(found.poison.loss[:, 1, -1] > found.poison.loss[:, 1, 0])
    assert summary.title(found).startswith("digits (0 vs 1 vs 3 vs 8)")


@pytest.mark.long
def test_bilevel_poison_beats_flips_against_a_convolutional_network(tmp_path):
    model = Choice("cnn", {"channels": (4, 8), "dense": 16, "kernel": 3})
    trainer = Choice("adam", {"epochs": 40, "rate": 0.02, "schedule": "cosine"})
    options = {"outer_steps": 12, "outer_rate": 1.5, "batch": 24}
    flips, found = (
        crafted(tmp_path, attack, model, trainer=trainer, n_val=200, n_test=240)
        for attack in (Choice("flip", {"batch": 24}), Choice("rmd", options))
    )
    assert flips.evaluations["none"].test_error[0, 0] < 0.15
    assert worst(found) > worst(flips) + 0.05


def test_clean_victim_is_scikit_learns(tmp_path):
    trained = crafted(
        tmp_path, Choice("flip"), reg="l2", lambda_=0.05, trainer=Choice("sgd", {"epochs": 3000, "rate": 0.5})
    )
    train = restore(trained).split.train
    theirs = LogisticRegression(C=1 / (0.05 * 120), tol=1e-8, max_iter=10_000).fit(train.x[0], train.y[0])
    layer = trained.evaluations["none"].params[0]
    np.testing.assert_allclose(layer["w"][0, 0], theirs.coef_, atol=2e-3)


@pytest.mark.parametrize(
    ("label", "wanted"), [("other", None), ("nearest", None), ("least-likely", None), ("3", 2)]
)
def test_poison_label(tmp_path, label, wanted):
    content = crafted(tmp_path, Choice("flip", {"poison_label": label}), repetitions=2)
    train = restore(content).split.train
    own = np.take_along_axis(np.asarray(train.y), content.poison.replaced, axis=1)
    assert np.all(content.poison.y != own)
    assert set(np.unique(content.poison.y)) <= {0, 1, 2, 3}
    if wanted is not None:
        assert np.all(content.poison.y == wanted)
    said = "flip, no penalty" if label == "other" else f"flip (poison_label={label}), no penalty"
    assert summary.label(content) == said


def test_nearest_is_likelier_than_least_likely(tmp_path):
    """By scikit-learn's victim of the same clean rows."""
    share = {}
    for label in ("nearest", "least-likely"):
        (tmp_path / label).mkdir()
        content = crafted(tmp_path / label, Choice("flip", {"poison_label": label}))
        train, poison = restore(content).split.train, content.poison
        model = LogisticRegression(C=1.0, max_iter=1000).fit(train.x[0], train.y[0])
        chance = model.predict_proba(train.x[0][poison.replaced[0]])
        share[label] = chance[np.arange(poison.y.shape[1]), poison.y[0].astype(int)].mean()
    assert share["nearest"] > 5 * share["least-likely"]


def test_one_class_for_all_poison_needs_rows_of_others(tmp_path):
    with pytest.raises(PoisonError, match="only 90 are not of the class"):
        crafted(tmp_path, Choice("flip", {"poison_label": "0"}), fraction=0.9)
    with pytest.raises(PoisonError, match="no class 5 to target: choose one of 0, 1, 3, 8"):
        crafted(tmp_path, Choice("flip", {"poison_label": "5"}))
    np.savez(tmp_path / "real.npz", x=np.random.default_rng(0).normal(size=(40, 3)), y=np.arange(40) / 7)
    real = Run(
        dataset=Choice("file", {"path": str(tmp_path / "real.npz")}),
        model="linear",  # type: ignore[arg-type]
        attack=Choice("flip", {"poison_label": "5"}),
    )
    with pytest.raises(PoisonError, match="leave --poison-label out"):
        stages.attack(real, tmp_path / "real.h5")


def test_rows_of_a_class_are_pushed_to_a_label(tmp_path):
    """More of the targeted class come out as that label than without poison."""
    attack = Choice("rmd", {"outer_steps": 20, "batch": 24, "target": "class:1", "target_label": "8"})
    rate = crafted(tmp_path, attack).evaluations["none"].target_rate
    assert rate[0, -1] > rate[0, 0] + 0.2


def test_margin_counts_the_best_other_class(tmp_path):
    attack = Choice("rmd", {"outer_steps": 5, "batch": 24, "target_loss": "margin"})
    loss = crafted(tmp_path, attack).poison.loss[0, 1]
    assert loss[-1] > loss[0]


@pytest.mark.parametrize("defense", ["l2", "slab", "loss", "svd", "knn"])
def test_defenses_take_several_classes(tmp_path, defense):
    path = stages.attack(
        Run(dataset=DIGITS, attack=Choice("flip", {"batch": 24}), reg="l2", lambda_=0.01, **SIZES),
        tmp_path / "flip.h5",
    )
    weight = stages.defend(path, defense).defenses[defense].weight
    assert weight.shape == (1, 2, 120)
    assert 0 < weight[0, -1].sum() < 120


def test_rows_without_an_axis_for_classes_are_as_before(tmp_path):
    """Two classes keep one output."""
    run = Run(attack=Choice("flip"), fraction=0.07)
    content = stages.evaluate(stages.attack(run, tmp_path / "two.h5"))
    assert content.evaluations["none"].params[0]["w"].shape[2:] == (1, 64)
    prepared = restore(content)
    assert prepared.objective.outputs == 1
    train, is_poison, _ = poisoned(prepared.split.train, content.poison, 1)
    assert np.array_equal(np.asarray(train.y)[is_poison], 1 - prepared.split.train.y[is_poison])
    assert serialize.from_json(run_file.read(tmp_path / "two.h5").run).attack.options["poison_label"] == "other"
