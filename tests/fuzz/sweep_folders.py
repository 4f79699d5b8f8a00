"""Grids of odd values, and folders of sweeps in which something is missing, damaged or foreign."""

from __future__ import annotations

import random

from fuzz.case import Case
from fuzz.mutate import NUMBERS, WORDS, damaged, tree
from fuzz.templates import Templates

_NAMES = (
    *("seed", "fraction", "model", "attack", "attack.batch", "trainer.rate", "reg", "lambda", "n-train", "reps"),
    *("dataset", "dataset.classes", "classes", "method", "target", "only_up", "x", "a.b", "attack.", ".rate", ""),
)
_VALUES = (
    *("0:2", "0,1", "0:99999999999", "0:1e9", "0:1:0.1", "0.1:0.3:0.1", "3:0", "0:1:0", "1:2:-1", "0:1.5"),
    *("flip", "flip,rmd", "logistic,svm", "none,l2", "clean", "0,8;0,1", "true", ";", ",", "1,,2", "0.1,0.2"),
    *("nan", "inf", "a,a"),
)
_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("sweep", "fig", "--status"),
    ("sweep", "fig", "--status", "--json"),
    ("sweep", "fig", "--join"),
    ("sweep", "fig", "--join", "--retry-failed"),
    ("sweep", "fig", "--join", "--fail-fast"),
    ("sweep", "--config", "s.toml", "--out", "fig"),
    ("sweep", "--config", "fig/sweep.toml", "--out", "fig"),
    ("report", "fig"),
    ("report", "fig", "--draw", "norm"),
    ("report", "fig", "--metric", "auc"),
    ("evaluate", "fig"),
)


def grids(rng: random.Random) -> Case:
    """`--grid` with names and values of every kind; mostly listed, for the runs take long."""
    args = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        name = rng.choice(_NAMES) if rng.random() < 0.9 else rng.choice(WORDS)
        value = rng.choice(_VALUES) if rng.random() < 0.8 else rng.choice((*WORDS, *map(str, NUMBERS)))
        args += ["--grid", f"{name}={value}" if rng.random() < 0.95 else name]
    base = rng.choice(((), (), ("--preset", "hlp-fig2"), ("--config", "s.toml")))
    more = rng.choice(((), (), ("--seed", "1"), ("--reps", "2"), ("--out", "fig"), ("--workers", "2")))
    return Case("grids", ("sweep", *base, *args, *more, "--dry-run"), {"s.toml": b'[base]\nattack = "flip"\n'})


def folders(rng: random.Random, made: Templates) -> Case:
    """The folder of a sweep that is done, with one to three of its files changed."""
    files = dict(made.sweep())
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        name = rng.choice([one for one in files if one.startswith("fig/")] or ["fig/x"])
        content = files.pop(name, b"")
        how = rng.choice(("gone", "damaged", "damaged", "empty", "folder", "unfinished", "foreign"))
        if how == "damaged":
            files[name] = (tree if name.endswith(".h5") and rng.random() < 0.5 else damaged)(rng, content)
        elif how in ("empty", "folder"):
            files[name if how == "empty" else f"{name}/"] = b""
        elif how == "unfinished":
            files[f"{name}.partial"] = content
        elif how == "foreign":
            files[name] = made.run("flip")["flip.h5"]
    return Case("sweep folders", rng.choice(_COMMANDS), files)
