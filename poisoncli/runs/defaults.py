"""What a run leaves open, from what its methods declare: which model and attack, how much poison, which options."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from poisoncli.attacks import ATTACKS
from poisoncli.core.data import Task
from poisoncli.core.declared import OfAttack, OfDataset, OfDefense, OfModel, OfTrainer, read
from poisoncli.datasets import DATASETS
from poisoncli.defenses import DEFENSES
from poisoncli.models import MODELS
from poisoncli.training.trainers import TRAINERS

USUAL: dict[Task | None, tuple[str, str]] = {  # the model and the attack of a data set that declares none
    None: ("logistic", "rmd"),
    "binary": ("logistic", "rmd"),
    "multiclass": ("logistic", "rmd"),
    "real": ("linear", "stealthy"),
}
SPARSE: dict[Task | None, tuple[str, str]] = {  # the same for sparse rows
    "binary": ("svm", "kkt"),
    "multiclass": ("multisvm", "minmax"),
}


def attack(name: str) -> OfAttack:
    """What the attack of that name declares; the usual, where its code is not at hand."""
    return read(OfAttack, ATTACKS[name]) if name in ATTACKS else OfAttack()


def model(name: str) -> OfModel:
    """What the model of that name declares."""
    return read(OfModel, MODELS[name]) if name in MODELS else OfModel()


def dataset(name: str) -> OfDataset:
    """What the data set of that name declares."""
    return read(OfDataset, DATASETS[name]) if name in DATASETS else OfDataset()


def model_and_attack(
    data: str, model_name: str, attack_name: str, task: Task | None = None, sparse: bool = False
) -> tuple[str, str]:
    """Those that are named, and in the place of an empty name what fits the others.

    The usual of the data set, but for a named attack the first of its victims that can learn these targets, and for
    a named model the first attack that is made for it and can poison them. task, sparse: of the rows, where known.
    """
    told = dataset(data)
    task = task or told.task
    usual_model, usual_attack = (sparse and SPARSE.get(task)) or USUAL[task]
    for_model = attack(attack_name).victims if attack_name else ()
    for_attack = model(model_name).attacks if model_name else ()
    return (
        model_name or _first(for_model, fitting(OfModel, task, sparse=sparse)) or told.usual_model or usual_model,
        attack_name
        or _first(for_attack, fitting(OfAttack, task, sparse=sparse))
        or told.usual_attack
        or usual_attack,
    )


def _first(names: Sequence[str], fit: Sequence[str]) -> str:
    return next((name for name in names if name in fit), "")


def fraction(data: str, model_name: str, attack_name: str) -> float:
    """The share of poison: what the papers add, or replace at most."""
    if attack(attack_name).adds:
        return 0.03
    only_real = ("real",) in (model(model_name).tasks, attack(attack_name).tasks)
    task = dataset(data).task or ("real" if only_real else "binary")
    return 0.45 if task == "real" else 0.35


def settings(data: str, model_name: str) -> dict[str, Any]:
    """The papers' settings for a model on a data set, by option; see `OfDataset`."""
    told = dataset(data)
    return {**model(model_name).settings, **told.settings, **told.settings_of.get(model_name, {})}


def trainer_settings(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` as a trainer takes them."""
    told = read(OfTrainer, TRAINERS[name])
    own = {**found, "rate": found["rate"] / told.gain} if "rate" in found else found
    return {option: own[option] for option in told.tuned if option in own}


def fields(made: type) -> dict[str, Any]:
    """A method's options that have a default, with it."""
    defaults = {field.name: field.default for field in dataclasses.fields(made)}
    return {name: value for name, value in defaults.items() if value is not dataclasses.MISSING}


def fitting(kind: type[OfAttack] | type[OfModel], task: Task | None, *, sparse: bool = False) -> list[str]:
    """Names of the attacks or models that fit the targets, if these are known, and sparse rows if there are any."""
    told = {name: model(name) for name in MODELS} if kind is OfModel else {name: attack(name) for name in ATTACKS}
    return [name for name, one in told.items() if task in (None, *one.tasks) and (one.sparse or not sparse)]


def wants_penalty(defense: str) -> bool:
    """Whether a defense sees more where the learner has a penalty; see `OfDefense`."""
    return read(OfDefense, DEFENSES[defense]).wants_penalty


def all_defenses(task: Task) -> list[str]:
    """What `all` stands for."""
    return [name for name, made in DEFENSES.items() if task in read(OfDefense, made).usual_for]
