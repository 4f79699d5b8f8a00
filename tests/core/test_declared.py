"""What methods declare: read from a class, with what holds where one is left out."""

import dataclasses
import math
from typing import ClassVar

from poisoncli.attacks import ATTACKS
from poisoncli.core import declared
from poisoncli.datasets import DATASETS
from poisoncli.models import MODELS
from poisoncli.runs import defaults, description


def test_an_option_of_the_name_of_a_declaration_is_an_option():
    @dataclasses.dataclass(frozen=True)
    class Odd:
        sparse: bool = True
        attacks: tuple[str, ...] = ("kkt",)

    assert declared.read(declared.OfModel, Odd) == declared.OfModel()


def test_every_declaration_in_the_package_is_one_that_is_read():
    kinds = {"attack": declared.OfAttack, "model": declared.OfModel, "trainer": declared.OfTrainer}
    for kind, of in kinds.items():
        for name, made in description.TABLES[kind].items():
            own = {f.name for f in dataclasses.fields(made)}
            told = {key for key in vars(made).get("__annotations__", {}) if key not in own}
            assert told <= {*of._fields, "loss", "bias"}, name  # the last two belong to `Exact`


def test_names_that_methods_declare_exist():
    for name in ATTACKS:
        assert set(defaults.attack(name).victims) <= set(MODELS)
        assert set(defaults.attack(name).tuned) <= {f.name for f in dataclasses.fields(ATTACKS[name])}
    for name in MODELS:
        assert set(defaults.model(name).attacks) <= set(ATTACKS)
        assert set(defaults.model(name).tuned) <= {f.name for f in dataclasses.fields(MODELS[name])}
    for name in DATASETS:
        told = defaults.dataset(name)
        assert set(told.settings_of) <= set(MODELS)
        assert told.usual_model in ("", *MODELS)
        assert told.usual_attack in ("", *ATTACKS)


def test_what_is_left_out_is_what_holds_for_all():
    @dataclasses.dataclass(frozen=True)
    class Some:
        tasks: ClassVar[tuple[str, ...]] = ("real",)
        adds: ClassVar[bool] = True
        rate: float = 0.5

    found = declared.read(declared.OfAttack, Some)
    assert found == declared.OfAttack(tasks=("real",), adds=True)
    assert (found.sparse, found.learns_lambda, found.victims) == (False, False, ())
    assert declared.read(declared.OfDefense, Some).usual_for == ("binary", "multiclass", "real")


def test_settings_are_those_of_the_papers_tables():
    found = declared.as_tabled(140, 0.3, 0.1, 100, largest=5000)
    steps = {"outer_steps": 140, "outer_rate": 0.3, "rate": 0.1, "epochs": 100}
    assert found == {**steps, "log_lambda_max": math.log(5000)}
    assert declared.as_tabled(1, 1, 1, 1)["log_lambda_max"] == math.inf
