"""Run files, truncated, with flipped bytes, renamed, with other types, shapes and attributes, for every verb."""

from __future__ import annotations

import random

from fuzz.case import Case
from fuzz.mutate import damaged, tree
from fuzz.templates import SHORT, SIZES, Templates


def case(rng: random.Random, made: Templates, few: bool = False) -> Case:
    """A verb on a damaged run file."""
    name = rng.choice(made.names(few))
    files = dict(made.run(name))
    structured = rng.random() < 0.7
    files[f"{name}.h5"] = (tree if structured else damaged)(rng, files[f"{name}.h5"])
    return Case("run files: members" if structured else "run files: bytes", _command(rng, name, files), files)


def _command(rng: random.Random, name: str, files: dict[str, bytes]) -> tuple[str, ...]:
    path = f"{name}.h5"
    if rng.random() < 0.06:  # a damaged checkpoint
        files[f"{path}.partial"] = files.pop(path)
        return ("attack", *SIZES, *SHORT, "--out", path, "--resume")
    return rng.choice(
        (
            ("evaluate", path),
            ("evaluate", path),
            ("evaluate", path),
            ("evaluate", path, path, "--csv"),
            ("evaluate", path, "--json"),
            ("evaluate", path, "-d", "all"),
            ("defend", path, "-d", "l2"),
            ("defend", path, "-d", "trim"),
            ("report", path),
            ("report", path, "--draw", "norm,histogram"),
            ("report", path, "--draw", "position+norm"),
            ("export", path, "out.csv"),
            ("export", path, "out.npz", "--params"),
            ("export", path, "out.parquet", "--repetition", "1"),
            ("collapse", path),
            ("collapse", path, "points.npz"),
            ("attack", *SIZES, *SHORT, "--out", path, "--resume"),
            ("attack", "--out", path),
        )
    )
