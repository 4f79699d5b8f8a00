"""poison attack: craft poison."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import typer

from poisoncli.cli import attack_options as opt
from poisoncli.cli import choices
from poisoncli.cli.common import as_json, guarded, note, progress
from poisoncli.cli.shared_options import Devices, Plugins

# parameters of the verb that are fields of a run, of a user's file, and short for options of the attack
_FIELDS = (
    *("n_train", "n_val", "n_test", "reg", "lambda_", "learn_lambda", "per_layer", "fraction", "seed"),
    "columns_changed",
)
_LISTS = ("frozen", "only_up", "only_down", "ranges")
_OF_FILE = (
    *("target", "classes", "column", "ignore", "val", "test", "split_column", "group_column", "time_column"),
    "balance",
)
_SHORT = {
    "hypergradient": "hypergradient",
    "target_rows": "target",
    "target_label": "target_label",
    "poison_label": "poison_label",
}


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("attack", add_help_option=False)(guarded(attack))


def attack(
    context: typer.Context,
    dataset: opt.Dataset = None,
    target: opt.Target = None,
    classes: opt.Classes = None,
    column: opt.Column = None,
    ignore: opt.Ignore = None,
    train: opt.Train = None,
    val: opt.Val = None,
    test: opt.Test = None,
    split_column: opt.SplitColumn = None,
    group_column: opt.GroupColumn = None,
    time_column: opt.TimeColumn = None,
    balance: opt.Balance = False,
    n_train: opt.NTrain = None,
    n_val: opt.NVal = None,
    n_test: opt.NTest = None,
    data_dir: opt.DataFolder = None,
    model: opt.Model = None,
    trainer: opt.Trainer = None,
    reg: opt.Reg = None,
    lambda_: opt.Lambda = None,
    learn_lambda: opt.LearnLambda = None,
    per_layer: opt.PerLayer = None,
    method: opt.Method = None,
    hypergradient: opt.Hypergradient = None,
    target_rows: opt.TargetRows = None,
    target_label: opt.TargetLabel = None,
    poison_label: opt.PoisonLabel = None,
    fraction: opt.Fraction = None,
    frozen: opt.Frozen = None,
    only_up: opt.OnlyUp = None,
    only_down: opt.OnlyDown = None,
    columns_changed: opt.ColumnsChanged = None,
    ranges: opt.Ranges = None,
    options: opt.Options = None,
    reps: opt.Repetitions = None,
    seed: opt.Seed = None,
    config_file: opt.Config = None,
    out: opt.Out = "run.h5",
    force: opt.Force = False,
    resume: opt.Resume = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
    plugin: Plugins = None,
    devices: Devices = None,
    debug: opt.Debug = False,
    help_: opt.Help = False,
) -> None:
    """Craft worst-case poison and write it to a run file.

    Without options: the embedded digits 0 and 8, logistic regression, up to 35 % poison, in seconds.
    The main experiment of the bilevel attack's authors: poison attack --dataset mnist --reg l2 --learn-lambda
    """
    asked = dict(locals())
    if help_:
        print(choices.method_help("attack", method) if method else context.get_help())
        return
    run = run_of(asked)
    _check_devices(run, devices)
    from poisoncli.runs.stages import attack as craft

    with progress(quiet) as report:
        path = craft(run, out, data_dir=data_dir, force=force, resume=resume, report=report)
    print(as_json({"run": str(path)}) if json else path)
    _note_limits(path, data_dir, quiet or json)
    note(f"next: poison evaluate {path}", quiet or json)


def _check_devices(run: Any, devices: int | None) -> None:
    """Refuse several devices where the attack takes one."""
    from poisoncli.core.errors import PoisonError
    from poisoncli.runs import defaults, description

    name = description.named_by_task(run).attack.name if (devices or 1) > 1 else ""
    if name in description.ATTACKS and not defaults.attack(name).spreads:
        raise PoisonError(f"the attack {name} works on one device: leave --devices out")


def _note_limits(path: Any, data_dir: str | None, quiet: bool) -> None:
    """Say how many added rows are beyond the limits that the attack set itself."""
    from poisoncli.runs import replay, run_file

    content = run_file.read(path)
    if quiet or not content.poison.replaced.size or content.poison.replaced.max() >= 0:
        return
    found = replay.beyond_limits(content, data_dir)
    rows = content.poison.y.size
    if count := found.pop("domain", 0):
        note(f"{count} of {rows} poison rows are outside the data set's domain")
    if found:
        counts = ", ".join(f"{count} ({name})" for name, count in found.items())
        note(
            f"rounding took {counts} of {rows} poison rows beyond the clean rows' quantile that the attack keeps "
            "to; whether a defense removes them is what `poison evaluate` says"
        )


def run_of(asked: Mapping[str, Any]) -> Any:
    """The run that options of `poison attack` describe, by the names of its parameters, over that of `--config`."""
    from poisoncli.runs import description, plugins, serialize

    run = serialize.from_toml(asked["config_file"]) if asked["config_file"] else description.Run()
    changes: dict[str, Any] = {name: asked[name] for name in _FIELDS if asked[name] is not None}
    changes.update({name: tuple(asked[name]) for name in _LISTS if asked[name]})
    if asked["reps"] is not None:
        changes["repetitions"] = asked["reps"]
    if asked["lambda_"] is not None or asked["learn_lambda"]:  # the command line's policy replaces the file's
        changes.update(_policy(asked["lambda_"]), learn_lambda=bool(asked["learn_lambda"]))
    names = {"dataset": _one_file(asked["dataset"], asked["train"]), "attack": asked["method"]}
    names |= {"model": asked["model"], "trainer": asked["trainer"]}
    if ":" in (asked["model"] or ""):
        ((_, names["model"]),) = plugins.load([asked["model"]])
    methods = {kind: getattr(run, kind) for kind in description.TABLES}
    for kind, name in names.items():
        if name is not None and name != methods[kind].name:
            methods[kind] = description.named(kind, name)
    short = [f"{option}={asked[name]}" for name, option in _SHORT.items() if asked[name]]
    for text in [*(asked["options"] or []), *short]:
        kind, name, value = _split_option(text)
        methods[kind] = description.Choice(methods[kind].name, {**methods[kind].options, name: value})
    said = {name: asked[name] for name in _OF_FILE if asked[name] not in (None, False)}
    if said.get("classes") == "all":
        said["classes"] = ""
    methods["dataset"] = description.Choice(methods["dataset"].name, {**methods["dataset"].options, **said})
    return dataclasses.replace(run, **methods, **changes)


def _one_file(dataset: str | None, train: str | None) -> str | None:
    """The data set, or the file of training rows."""
    from poisoncli.core.errors import PoisonError

    if dataset is not None and train is not None:
        raise PoisonError("--train and --dataset both name the rows: give one of them")
    return dataset or train


def _policy(text: str | None) -> dict[str, Any]:
    """The fields of a run that `--lambda` sets."""
    from poisoncli.core.errors import PoisonError

    if text is None or text == "clean":
        return {"lambda_": None, "clean_lambda": text == "clean"}
    try:
        return {"lambda_": float(text), "clean_lambda": False}
    except ValueError:
        raise PoisonError(f"--lambda {text} is no number: give a coefficient, or `clean`") from None


def _split_option(text: str) -> tuple[str, str, str]:
    """Which method, which option and which value `-o text` sets."""
    from poisoncli.core.errors import PoisonError
    from poisoncli.runs import description

    name, equals, value = text.partition("=")
    if not equals:
        raise PoisonError(f"-o {text} sets nothing: write -o name=value")
    kind, dot, rest = name.strip().partition(".")
    if not dot:
        return "attack", kind, value
    description.known(kind, description.TABLES, "kind of method")
    return kind, rest, value
