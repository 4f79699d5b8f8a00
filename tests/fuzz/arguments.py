"""Command lines from the options that the verbs have, drawn by Hypothesis."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from typing import Any

from fuzz import templates
from fuzz.case import Case
from fuzz.mutate import NUMBERS, WORDS
from fuzz.templates import SHORT, SIZES, Templates
from hypothesis import strategies as st

_NAMES = {  # values that an option may take; what is large enough to take long is left out
    "--dataset": (
        "digits",
        "breast-cancer",
        "line",
        "diabetes",
        "gaussians",
        "mnist",
        "enron",
        "file",
        "own.csv",
        "no.csv",
        "own.h5",
    ),
    "--model": ("logistic", "mlp", "svm", "multisvm", "linear"),
    "--trainer": ("sgd", "momentum", "adam"),
    "--method": ("rmd", "flip", "stealthy", "statp", "kkt", "minmax", "influence", "alfa", "given", "minmax-basic"),
    "--reg": ("none", "l1", "l2"),
    "--lambda": ("clean", "0", "0.1", "1", "1e9", "1e-9"),
    "--hypergradient": ("reverse", "forward", "cg", "exact"),
    "--target-rows": ("val", "test", "train", "class:0", "class:8", "class:x", "rows:own.csv", "rows:", "rows:no"),
    "--target-label": ("0", "8", "1"),
    "--classes": ("0,8", "0,1,2", "0", "0,0", "line,one", ","),
    "--fraction": ("0.1", "0.35", "0.9", "0.999", "0.06"),
    "--defense": (
        "l2",
        "slab",
        "loss",
        "knn",
        "svd",
        "trim",
        "huber",
        "sever",
        "proda",
        "duti",
        "bayesclean",
        "all",
    ),
    "--draw": (
        "test_error",
        "val_loss",
        "norm",
        "layer_norm",
        "position",
        "histogram",
        "decrease",
        "norm+time",
        "consistency",
        "log_lambda+norm",
        ",",
    ),
    "--out": (
        "out.h5",
        "out.png",
        "out.svg",
        "folder",
        "no/out.h5",
        "flip.h5",
        "a" * 300 + ".h5",
        ".",
        "/dev/null",
    ),
    "--export": ("out.csv", "out.npz", "out.parquet", "out", "flip.h5"),
    "--figure": ("out.png", "out.xyz"),
    "--bias": ("free", "penalized"),
    "--loss": ("hinge", "logistic"),
    "--preset": ("list", "hlp-fig2"),
    "--config": ("run.toml", "flip.h5", "folder"),
    "--data-dir": (".", "folder", "no"),
    "--trusted": ("own.csv", "no.csv"),
    "--poison": ("own.csv", "flip.h5", "poison.npz"),
    "--repetition": ("0", "1"),
    "--seed": ("0", "4294967295", "4294967296"),
    "--column": (
        "a=number",
        "b=category",
        "c=whole",
        "a=date",
        "a=text",
        "c=identifier",
        "a=",
        "=number",
        "no=number",
    ),
    "--ignore": ("a", "a,b", "y", "a,b,c", "no", ","),
    "--train": ("own.csv", "no.csv", "folder"),
    "--val": ("own.csv", "no.csv"),
    "--test": ("own.csv", "no.csv"),
    "--split-column": ("a", "y", "no"),
    "--group-column": ("a", "c", "no"),
    "--time-column": ("a", "y", "no"),
    "--frozen": ("a", "a,b", "a,b,c", "no", "y"),
    "--only-up": ("a", "b,c", "no"),
    "--only-down": ("a", "no"),
    "--columns-changed": ("1", "2", "0"),
    "--range": ("a=0:1", "a=:1", "b=0:", "a=1:0", "a", "no=0:1"),
    "--poison-label": ("other", "nearest", "least-likely", "0", "8"),
    "--metric": (
        "error",
        "balanced-error",
        "recall",
        "recall:0",
        "auc",
        "log-loss",
        "nmse",
        "mae",
        "r2",
        "recall:",
    ),
    "--fail-above": ("0", "0.3", "1", "2"),
    "--fail-below": ("0", "0.3", "1", "-2"),
    "--at": ("0", "0.1", "1"),
    "--victim": ("sklearn.dummy:DummyClassifier", "sklearn.dummy:DummyRegressor", "no:x", "own.py:Own"),
    "--plugin": ("own.py", "no.py", "own.csv"),
}
_LONG = {"--n-train", "--n-val", "--n-test", "--reps", "--passes"}
_FILES = {"own.csv": templates.csv(), "folder/": b"", "run.toml": b'seed = 1\ndataset = "line"\n'}


@functools.cache
def _verbs() -> dict[str, list[tuple[str, bool]]]:
    """The options of each verb, and whether they take a value."""
    import typer.main

    from poisoncli.cli import app

    found: Any = typer.main.get_command(app)
    return {
        name: [
            (max(item.opts, key=len), not item.is_flag)
            for item in verb.params
            if item.opts[0].startswith("-") and "--debug" not in item.opts  # which is there to show tracebacks
        ]
        for name, verb in found.commands.items()
    }


def verbs_with_counts() -> list[tuple[str, str]]:
    """Each verb with each of its options that is a whole number."""
    import typer.main

    from poisoncli.cli import app

    found: Any = typer.main.get_command(app)
    return [
        (name, max(item.opts, key=len))
        for name, verb in sorted(found.commands.items())
        for hints in [typing.get_type_hints(inspect.unwrap(verb.callback))]
        for item in verb.params
        if int in (hints.get(item.name), *typing.get_args(hints.get(item.name)))
    ]


@functools.cache
def _fields() -> list[str]:
    """Every option of every method."""
    from poisoncli.runs.description import METHODS

    return sorted(
        {
            prefix + field.name
            for kind, table in METHODS.items()
            for method in table.values()
            for field in dataclasses.fields(method)
            for prefix in {"attack": ("",), "defense": ("",)}.get(kind, (f"{kind}.",))
        }
    )


def look() -> None:
    """Import what tells the options; some of that draws random numbers."""
    _verbs()
    _fields()


def _value(option: str) -> st.SearchStrategy[str]:
    numbers = st.sampled_from([str(number) for number in NUMBERS])
    words = st.sampled_from(WORDS)
    if option == "-o":
        value = st.one_of(st.sampled_from(["none", "0.1", "true", "val", "1,2"]), numbers, numbers, words)
        return st.one_of(st.builds(lambda name, v: f"{name}={v}", st.sampled_from(_fields()), value), words)
    usual = st.sampled_from(_NAMES[option]) if option in _NAMES else numbers
    noise = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)
    return st.one_of(usual, usual, usual, usual, numbers, numbers, words, noise)


@st.composite
def cases(draw: st.DrawFn, made: Templates, few: bool = False) -> Case:
    """A verb with small sizes and one to four options that may not fit."""
    verbs = _verbs()
    verb = draw(st.sampled_from([*("attack",) * 4, *("evaluate", "defend", "report") * 2, *sorted(verbs)]))
    args, files = [], dict(_FILES)
    runs = [made.run(name) for name in draw(st.lists(st.sampled_from(made.names(few)), max_size=2))]
    for run in runs:
        files.update(run)
    if verb == "attack":
        args += [
            *SIZES,
            *draw(st.sampled_from(((), ("--method", "flip"), SHORT, ("--model", "svm", "--method", "alfa")))),
        ]
    elif verb == "sweep":
        args += ["--dry-run"]
    elif verb == "audit":
        args += ["own.csv", *SIZES, *SHORT, "-d", "l2", "-o", "trainer.epochs=3"]
    elif verb not in ("datasets", "export", "collapse") and not runs:
        args += ["--dataset", "own.csv"]
    for option, takes in draw(
        st.lists(st.sampled_from(verbs.get(verb, [("--help", False)])), min_size=1, max_size=4)
    ):
        if option == "--help" and draw(st.integers(0, 9)):
            continue
        if option in args and option in _LONG:
            args[args.index(option) + 1] = draw(_value(option))
        else:
            args += [option, draw(_value("-o" if option == "-o" else option))] if takes else [option]
    names = [name for run in runs for name in run if name.endswith(".h5")]
    names += (
        draw(st.lists(st.sampled_from(("folder", "no.h5", "own.csv", "-", "out.npz", "")), max_size=1))
        if verb not in ("attack", "audit")
        else []
    )
    if verb in ("attack", "audit"):
        names = []
    return Case(
        "arguments", (verb, *names, *args), files, stdin=draw(st.sampled_from(("", "flip.h5\n", "no.h5\n")))
    )
