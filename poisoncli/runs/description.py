"""What a run is: names, hyperparameters and a seed; read from options, TOML or JSON, and checked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from poisoncli.attacks import ATTACKS
from poisoncli.core.errors import PoisonError
from poisoncli.core.losses import PENALTIES
from poisoncli.core.victim import Solvable
from poisoncli.datasets import DATASETS
from poisoncli.defenses import DEFENSES
from poisoncli.models import MODELS
from poisoncli.runs import defaults, plugins
from poisoncli.runs.options import LARGEST, read_value
from poisoncli.training.trainers import TRAINERS

TABLES: dict[str, dict[str, type]] = {
    "dataset": DATASETS,
    "model": MODELS,
    "trainer": TRAINERS,
    "attack": ATTACKS,
}
MOST_REPETITIONS = 10_000
RELATIVE = ("frozen", "only_up", "only_down", "columns_changed")  # limits relative to the row that poison replaces
METHODS = {**TABLES, "defense": DEFENSES}  # a run has one method of each table; defenses come afterwards


@dataclasses.dataclass(frozen=True)
class Choice:
    """A method by name, with the options that differ from its defaults, or with all once it is resolved."""

    name: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Run:
    """Everything that determines a result.

    dataset, model, trainer, attack: the methods, as names or `Choice`s; without a name, model and attack are
    logistic and rmd, linear and stealthy for data sets with real targets, and svm and kkt, or with ten classes
    multisvm and minmax, for those of KSL and for attacks that add rows.
    reg: penalty on the weights, `none`, `l2` or `l1`; by default `l2` where a lambda is given or learned.
    lambda_: fixed coefficient of the penalty in the mean loss, at least 0; svm takes KSL's where there is one.
    clean_lambda: take the one that cross-validation on the clean training rows selects (HLP's lambda_CLEAN).
    learn_lambda: learn it together with the poison (HLP eq. 3), or with clean_lambda on the clean rows before
    there is poison; per_layer: one for each layer.
    fraction: of the training rows that the attacker replaces or adds, in (0, 1); None means 0.35, 0.45 for real
    targets, and 0.03 for added rows.
    n_train, n_val, n_test: rows; 0 means the data set's default.
    repetitions: random splits; seed: a non-negative integer.
    frozen, only_up, only_down: columns of the user's table that poison rows keep from the clean row that they
    replace, or move one way; columns_changed: in how many they may differ from it, at most, 0: in all.
    ranges: of columns, as `age=18:99`; by default those of the clean training rows.
    at_optimum: whether the victim is scored at the optimum of its objective, which is found directly (`Solvable`),
    and not after the epochs of the trainer, which attack and defenses still look through. Set where these are
    found from the rows, and the model and its penalty allow it.
    """

    dataset: Choice = Choice("digits")
    model: Choice = Choice("")
    trainer: Choice = Choice("")
    attack: Choice = Choice("")
    reg: str = ""
    lambda_: float | None = None
    clean_lambda: bool = False
    learn_lambda: bool = False
    per_layer: bool = False
    fraction: float | None = None
    n_train: int = 0
    n_val: int = 0
    n_test: int = 0
    repetitions: int = 1
    seed: int = 0
    frozen: tuple[str, ...] = ()
    only_up: tuple[str, ...] = ()
    only_down: tuple[str, ...] = ()
    columns_changed: int = 0
    ranges: tuple[str, ...] = ()
    at_optimum: bool = False

    def __post_init__(self) -> None:
        for kind in TABLES:
            given = getattr(self, kind)
            if isinstance(given, str):
                object.__setattr__(self, kind, Choice(given))


def resolve(run: Run) -> Run:
    """`run` checked, with every option of every method filled in.

    Raises `PoisonError` for an unknown name or option, a value out of range, or options that contradict.
    """
    plugins.install()
    return resolved(run)


def resolved(run: Run) -> Run:
    """`resolve` with the methods that are at hand."""
    run = named_by_task(run)
    for kind, table in TABLES.items():
        known(getattr(run, kind).name, table, kind)
    _check(run)
    filled = {
        kind: Choice(choice.name, {**_fields(kind, run), **_checked(kind, choice)})
        for kind in TABLES
        for choice in [getattr(run, kind)]
    }
    for kind, choice in filled.items():
        _check_whole(kind, choice)
    penalized = run.lambda_ is not None or run.clean_lambda or run.learn_lambda
    reg = run.reg or ("l2" if penalized else "none")
    return dataclasses.replace(run, **filled, reg=reg)


def named_by_task(run: Run) -> Run:
    """`run` with model, attack, fraction and the papers' lambda filled in where it leaves them to the data set."""
    for kind, table in TABLES.items():
        if getattr(run, kind).name or kind == "dataset":  # which nothing else tells
            known(getattr(run, kind).name, table, kind)
    data = run.dataset.name
    model, attack = defaults.model_and_attack(data, run.model.name, run.attack.name)
    if "task" in defaults.fields(DATASETS[data]) and not run.dataset.options.get("task"):
        only_real = ("real",) in (defaults.model(model).tasks, defaults.attack(attack).tasks)
        task = {"task": "real"} if only_real else {}
        run = dataclasses.replace(run, dataset=Choice(data, {**run.dataset.options, **task}))
    policy = run.reg or run.lambda_ is not None or run.clean_lambda or run.learn_lambda
    return dataclasses.replace(
        run,
        model=Choice(model, run.model.options),
        attack=Choice(attack, run.attack.options),
        trainer=Choice(run.trainer.name or defaults.dataset(data).usual_trainer, run.trainer.options),
        fraction=defaults.fraction(data, model, attack) if run.fraction is None else run.fraction,
        lambda_=run.lambda_ if policy else defaults.settings(data, model).get("lambda"),
    )


def build(choice: Choice, kind: str) -> Any:
    """The method that a resolved `choice` names."""
    return METHODS[kind][choice.name](**choice.options)


def resolve_defense(choice: Choice) -> Choice:
    """A defense checked, with every option filled in. Raises `PoisonError` for an unknown name or option."""
    plugins.install()
    known(choice.name, DEFENSES, "defense")
    return Choice(choice.name, {**defaults.fields(DEFENSES[choice.name]), **_checked("defense", choice)})


def defenses(names: Sequence[str], real: bool) -> list[str]:
    """The defenses that a user names; `all` stands for those that fit the targets, real numbers or classes."""
    plugins.install()
    every = defaults.all_defenses("real" if real else "binary")
    return list(dict.fromkeys(one for name in names for one in (every if name == "all" else [name])))


def named(kind: str, name: str) -> Choice:
    """The method that a user names; a data set that looks like a path, or is a folder, is his own file."""
    if kind == "dataset" and name not in DATASETS and ("." in name or "/" in name or Path(name).is_dir()):
        return Choice("file", {"path": name})
    return Choice(name)


def known(name: str, table: Mapping[str, Any], kind: str) -> None:
    """Raise `PoisonError` unless `name` is in `table`."""
    if name not in table:
        own = ", or bring your own with --plugin FILE.py" if kind in plugins.TABLES else ""
        raise PoisonError(f"there is no {kind} named {name!r}: choose one of {', '.join(table)}{own}")


def _check(run: Run) -> None:
    """Raise `PoisonError` where a field of `run` is out of range or contradicts another."""
    if run.reg not in ("", *PENALTIES):
        raise PoisonError(f"--reg {run.reg} is unknown: choose one of {', '.join(PENALTIES)}")
    policies = (run.lambda_ is not None) + (run.clean_lambda or run.learn_lambda)
    if policies > 1:
        raise PoisonError("--lambda and --learn-lambda contradict each other: give one of them")
    if run.lambda_ is not None and not (run.lambda_ >= 0 and math.isfinite(run.lambda_)):
        raise PoisonError(f"--lambda {run.lambda_} is not a coefficient: give a number of at least 0")
    if run.reg in ("l1", "l2") and not policies:
        raise PoisonError(f"--reg {run.reg} needs a strength: add --lambda VALUE, --lambda clean or --learn-lambda")
    if run.reg == "none" and (run.lambda_ or run.clean_lambda or run.learn_lambda):
        raise PoisonError("--reg none has no lambda: choose --reg l2 or l1, or drop the lambda option")
    if run.per_layer and not run.learn_lambda:
        raise PoisonError("--per-layer is about learned lambdas: add --learn-lambda")
    if run.learn_lambda and not defaults.attack(run.attack.name).learns_lambda:
        able = " or ".join(name for name in ATTACKS if defaults.attack(name).learns_lambda)
        raise PoisonError(
            f"attack {run.attack.name} does not learn lambda: use --method {able}, or fix it with --lambda"
        )
    if not 0 < (run.fraction or 0) < 1:
        raise PoisonError(
            f"--fraction {run.fraction} is outside (0, 1): give a share of the training rows, such as 0.1"
        )
    if not 1 <= run.repetitions <= MOST_REPETITIONS:
        raise PoisonError(f"--reps {run.repetitions} is outside [1, {MOST_REPETITIONS}]: ask for so many")
    if not 0 <= run.seed < 2**32:  # JAX cuts longer seeds
        raise PoisonError(f"--seed {run.seed} is outside [0, 2^32): give a whole number of at most 4294967295")
    for name in ("n_train", "n_val", "n_test"):
        flag, asked = name.replace("_", "-"), getattr(run, name)
        if asked < 0:
            raise PoisonError(f"--{flag} {asked} is negative: ask for at least one row")
        if asked > LARGEST:
            raise PoisonError(f"--{flag} {asked} is more than {LARGEST}: ask for fewer rows")
    _check_limits(run)


def _check_limits(run: Run) -> None:
    """Raise `PoisonError` where the attack cannot keep to limits on its rows."""
    told, name = defaults.attack(run.attack.name), run.attack.name
    if not 0 <= run.columns_changed <= LARGEST:
        raise PoisonError(
            f"--columns-changed {run.columns_changed} is outside [0, {LARGEST}]: give a number of columns"
        )
    relative = [f"--{field.replace('_', '-')}" for field in RELATIVE if getattr(run, field)]
    if relative and not told.has_origin:
        able = " or ".join(one for one in ATTACKS if defaults.attack(one).has_origin)
        raise PoisonError(
            f"attack {name} adds rows that start from none of yours, so that {relative[0]} says nothing of them: "
            f"leave it out, or choose --method {able}"
        )
    if run.ranges and told.finished_by == "keep":
        raise PoisonError(f"attack {name} changes no feature, so that it cannot keep to --range: leave it out")


def check_penalty(run: Run) -> None:
    """Raise `PoisonError` where the model of a resolved run cannot be trained with its penalty."""
    told, name = defaults.model(run.model.name), run.model.name
    if run.at_optimum and not solvable(run):
        raise PoisonError(f"at_optimum is not for model {name} with this penalty: leave it out")
    if run.reg == "none":
        return
    if run.reg not in told.penalties:
        able = " or ".join(told.penalties)
        raise PoisonError(f"model {name} cannot be trained with --reg {run.reg}: choose --reg {able}")
    for option, value in told.penalized_with.items():
        if run.model.options[option] != value:
            raise PoisonError(
                f"--lambda does nothing to model {name} as it is: add -o model.{option}={value}, or leave it out"
            )


def solvable(run: Run) -> bool:
    """Whether the optimum of a resolved run's victim can be found directly."""
    return run.reg in ("none", "l2") and issubclass(MODELS[run.model.name], Solvable)


def _fields(kind: str, run: Run) -> dict[str, Any]:
    """All options of a method with their defaults for the run's data set and model."""
    own = defaults.fields(TABLES[kind][getattr(run, kind).name])
    found = defaults.settings(run.dataset.name, run.model.name)
    if kind == "trainer":
        return {**own, **defaults.trainer_settings(run.trainer.name, found)}
    if kind == "attack":
        trained = {**_fields("trainer", run), **_checked("trainer", run.trainer)}
        found.update(inner_rate=trained.get("rate"), inner_steps=trained.get("epochs"))
        if run.n_train:  # the papers' batches are for their number of rows
            found.pop("batch", None)
    told: dict[str, tuple[str, ...]] = {
        "attack": defaults.attack(run.attack.name).tuned,
        "model": defaults.model(run.model.name).tuned,
        "dataset": (),
    }
    return {**own, **{name: found[name] for name in told[kind] if found.get(name) is not None}}


def _check_whole(kind: str, choice: Choice) -> None:
    """Raise `PoisonError` where a method lacks an option that has no default, or two options contradict."""
    for field in dataclasses.fields(TABLES[kind][choice.name]):
        if field.name not in choice.options:
            raise PoisonError(f"{kind} {choice.name} needs a {field.name}: add -o {kind}.{field.name}=VALUE")
    target = choice.options.get("target", "val") if kind == "attack" else "val"
    rows, colon, name = str(target).partition(":")
    if rows not in (("class", "rows", "places") if colon else ("val", "test", "train")) or bool(colon) != bool(
        name
    ):
        raise PoisonError(f"target is {target!r}: choose one of val, test, train, class:K and rows:FILE")
    low, high = (choice.options.get(f"log_lambda_{end}", 0.0) for end in ("min", "max"))
    if low > high:
        raise PoisonError(f"log_lambda_min is {low}, above log_lambda_max, {high}: choose a smaller one")


def option_names(kind: str, name: str) -> list[str]:
    """The options of a method."""
    return [field.name for field in dataclasses.fields(METHODS[kind][name])]


def _checked(kind: str, choice: Choice) -> dict[str, Any]:
    """The choice's options, read as their fields' types and within their ranges."""
    made = METHODS[kind][choice.name]
    fields = [f.name for f in dataclasses.fields(made)]
    result = {}
    for name, value in choice.options.items():
        if name not in fields:
            takes = f"it takes {', '.join(fields)}" if fields else "it takes none"
            raise PoisonError(f"{kind} {choice.name} has no option {name!r}: {takes}")
        result[name] = read_value(f"{kind} {choice.name}: {name}", made, name, value)
    return result
