"""Closed and full outputs, streams that know ASCII only, and paths that are too long, folders, or no files."""

from __future__ import annotations

import random

from fuzz import templates
from fuzz.case import Case
from fuzz.mutate import WORDS
from fuzz.templates import SIZES, Templates

STREAMS = ("closed", "closed+stderr", "full", "pipe", "ascii")


def streams(rng: random.Random, made: Templates, few: bool = False) -> Case:
    """A verb whose output goes nowhere, or knows few letters; in a new interpreter, so that its end counts."""
    name = rng.choice(made.names(few))
    path = f"{name}.h5"
    command = rng.choice(
        (
            ("evaluate", path),
            ("evaluate", path, "--csv"),
            ("evaluate", path, "--json"),
            ("datasets",),
            ("--help",),
            ("report", path, "-o", "ä.png"),
            ("export", path, "∑.csv"),
            ("attack", *SIZES, "--method", "flip"),
            ("defend", path, "-d", "l2"),
            ("sweep", "--preset", "list"),
            ("attack", "--method", "ä"),
            ("evaluate", "∑.h5"),
            ("defend", "--dataset", "ä.csv", "-d", "l2"),
            ("defend", "--dataset", "ä.csv", "-d", "l2", "--csv"),
        )
    )
    table = templates.csv().replace(b"a,b", "ä,🙂".encode(), 1)
    return Case("streams", command, {**made.run(name), "ä.csv": table}, streams=rng.choice(STREAMS))


def paths(rng: random.Random, made: Templates, few: bool = False) -> Case:
    """A path that is too long, a folder, or nothing, where a file is expected; and the other way round."""
    name = rng.choice(made.names(few))
    bad = rng.choice(
        (
            "folder",
            ".",
            "/",
            "/dev/null",
            "/dev/full",
            "/proc/self/mem",
            "own.csv/x.csv",
            "a" * 300,
            "a/" * 200,
            "a" * 300 + ".h5",
            "a" * 300 + ".csv",
            "folder.csv",
            "folder.h5",
            "folder.npz",
            *WORDS,
        )
    )
    path = f"{name}.h5"
    command = rng.choice(
        (
            ("evaluate", bad),
            ("evaluate", path, bad),
            ("defend", bad, "-d", "l2"),
            ("report", bad),
            ("report", path, "-o", bad),
            ("export", bad, "out.csv"),
            ("export", path, bad),
            ("collapse", bad),
            ("collapse", path, bad),
            ("attack", "--method", "flip", *SIZES, "--out", bad),
            ("attack", "--dataset", bad, *SIZES),
            ("attack", "--config", bad),
            ("attack", "--data-dir", bad, "--dataset", "mnist"),
            ("attack", "--target-rows", f"rows:{bad}", *SIZES),
            ("sweep", "--config", bad, "--dry-run"),
            ("sweep", "--config", "s.toml", "--out", bad),
            ("defend", "--dataset", bad, "-d", "l2"),
            ("defend", "--dataset", "own.csv", "-d", "l2", "--export", bad),
            ("defend", "--dataset", "own.csv", "-d", "l2", "--figure", bad),
            ("evaluate", "--dataset", "own.csv", "--poison", bad),
            ("defend", "--dataset", "own.csv", "-d", "trim", "--trusted", bad),
            ("datasets", "--data-dir", bad),
        )
    )
    files = {
        **made.run(name),
        "own.csv": templates.csv(),
        "folder/": b"",
        "folder.csv/": b"",
        "folder.h5/": b"",
        "folder.npz/": b"",
    }
    files["s.toml"] = b'[base]\nattack = "flip"\nn_train = 20\nn_val = 10\nn_test = 10\n'
    stdin = rng.choice(("", "\n", f"{bad}\n"))
    return Case("paths", command, files, stdin=stdin)
