"""What methods declare decides what fits what; a class from outside the package does as well as one inside."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import numpy as np
import outside
import pytest

from poisoncli.attacks import ATTACKS
from poisoncli.core.errors import PoisonError
from poisoncli.datasets import DATASETS, describe
from poisoncli.defenses import DEFENSES
from poisoncli.models import MODELS
from poisoncli.runs import description, prepare, run_file, stages
from poisoncli.runs.description import Choice, Run, resolve
from poisoncli.training.trainers import TRAINERS

SMALL = {"n_train": 40, "n_val": 20, "n_test": 20, "fraction": 0.2}


@pytest.fixture(autouse=True)
def added(monkeypatch):
    """The methods of `outside`, which declare nothing, in the tables."""
    for table, name, made in (
        (ATTACKS, "shift", outside.Shift),
        (MODELS, "offset", outside.Offset),
        (DEFENSES, "first", outside.First),
        (DATASETS, "square", outside.Square),
        (TRAINERS, "signs", outside.Signs),
    ):
        monkeypatch.setitem(table, name, made)


def test_methods_from_outside_without_a_declaration_run_to_the_end(tmp_path):
    run = Run("square", "offset", "signs", "shift", **SMALL)  # type: ignore[arg-type]
    path = stages.attack(run, tmp_path / "run.h5")
    stages.defend(path, "first")
    content = stages.evaluate(path)
    assert set(content.evaluations) == {"none", "first"}
    assert content.poison.counts.tolist() == [0, 3, 6, 8]  # 7 % of 40 rows a stage, 20 % in the last
    np.testing.assert_allclose(content.poison.x.max(), 1.0)
    assert run_file.read(path).defenses["first"].knows == "nothing"


def test_their_own_defaults_stay():
    run = resolve(Run("mnist", "offset", "signs", "shift", **SMALL))  # type: ignore[arg-type]
    assert dict(run.model.options) == {"hidden": (5,)}
    assert dict(run.attack.options) == {"outer_steps": 2, "amount": 0.5, "hidden": 7}
    assert dict(run.trainer.options) == {"rate": 0.25, "epochs": 9, "size": 0, "schedule": "constant"}


def test_what_is_not_named_beside_them_is_what_the_others_bring():
    assert resolve(Run(attack="shift")).model.name == "logistic"  # type: ignore[arg-type]
    assert resolve(Run(model="offset")).attack.name == "rmd"  # type: ignore[arg-type]
    assert resolve(Run(dataset="square")).model.name == "logistic"  # type: ignore[arg-type]
    assert resolve(Run(dataset="boston", model="offset")).attack.name == "stealthy"  # type: ignore[arg-type]


def test_declarations_from_outside_count(monkeypatch):
    class Wide(outside.Square):
        """Real targets, and settings for a model that is not in the package."""

        task: ClassVar[str] = "real"
        usual_model: ClassVar[str] = "offset"
        settings_of: ClassVar[Mapping[str, Any]] = {"offset": {"hidden": (3, 3), "lambda": 0.5, "epochs": 11}}

    class Tuned(outside.Offset):
        """A model that follows the data set."""

        tuned: ClassVar[tuple[str, ...]] = ("hidden",)
        attacks: ClassVar[tuple[str, ...]] = ("rmd", "flip")

    monkeypatch.setitem(DATASETS, "square", dataclasses.dataclass(frozen=True)(Wide))
    monkeypatch.setitem(MODELS, "offset", dataclasses.dataclass(frozen=True)(Tuned))
    run = resolve(Run(dataset="square"))  # type: ignore[arg-type]
    assert (run.model.name, run.attack.name, run.fraction, run.lambda_) == ("offset", "stealthy", 0.45, 0.5)
    assert run.model.options["hidden"] == (3, 3)
    assert run.trainer.options["epochs"] == run.attack.options["inner_steps"] == 11
    named = resolve(dataclasses.replace(run, model=Choice("offset"), attack=Choice("")))
    assert named.attack.name == "flip"  # the first that is made for the model and for real targets


def test_all_defenses_are_those_that_say_so(monkeypatch):
    classes, real = (description.defenses(["all"], real=real) for real in (False, True))
    assert {"l2", "slab", "loss", "svd", "knn", "first"} <= set(classes)
    assert {"trim", "huber", "sever", "proda", "duti", "bayesclean", "first"} <= set(real)
    assert "trim" not in classes
    assert "slab" not in real
    monkeypatch.setattr(outside.First, "usual_for", ("real",), raising=False)
    assert "first" not in description.defenses(["all"], real=False)


def test_a_listing_has_data_sets_that_declare_nothing():
    row = next(row for row in describe() if row["name"] == "square")
    assert (row["rows"], row["features"], row["classes"]) == (None, None, ())


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (Run("digits", "linear", attack="rmd"), "two classes, which model linear cannot take: choose --model logi"),
        (Run("diabetes", "logistic", attack="kkt"), "real targets, which model logistic and attack kkt cannot"),
        (
            Run("diabetes", "mlp", attack="shift"),
            "which attack shift cannot take: choose --method flip or given or stealthy",
        ),
        (Run(Choice("digits", {"classes": ()}), "svm", attack="kkt"), "10 classes, which model svm and attack kkt"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_does(run, says):
    with pytest.raises(PoisonError, match=says):
        prepare.prepare(resolve(run))


def test_floats_that_compiled_code_must_know_are_no_leaves_without_future_annotations():
    assert jax.tree.leaves(outside.Halves(1.5, 2.5)) == [1.5]
