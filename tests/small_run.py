"""A small run file, and how a damaged one must be refused."""

import json

import numpy as np
import pytest

from poisoncli.core.attack import Poison
from poisoncli.core.errors import FailedError, PoisonError
from poisoncli.runs import run_file
from poisoncli.runs.description import Choice, Run
from poisoncli.runs.run_file import SCALER, RunFile

FLIPS = Run(
    dataset=Choice("digits"),
    attack=Choice("flip"),
    trainer=Choice("sgd", {"epochs": 5}),
    n_train=30,
    n_val=10,
    n_test=10,
    fraction=0.2,
)


def described(repetitions, rows, note=""):
    """A description with the sizes that a run file is held against."""
    sizes = {f"n_{name}": rows for name in ("train", "val", "test")}
    return json.dumps({"repetitions": repetitions, **sizes, "note": note})


def example(value=0.5, size=3) -> RunFile:
    poison = Poison(
        np.full((1, 2, size), value, np.float32),
        np.ones((1, 2), np.float32),
        np.arange(2)[None],
        np.array([0, 2]),
        np.zeros((1, 2, 1), np.float32),
        np.full((1, 2, 4), np.nan, np.float32),
        done=8,
        total=8,
    )
    rows = {name: np.arange(4)[None] for name in ("train", "val", "test")}
    scaler = {name: np.float32(name.endswith("scale")) for name in SCALER}
    return RunFile(described(1, 4), "ab", rows, scaler, poison)


def refused(path, match):
    with pytest.raises(PoisonError, match=match) as error:
        run_file.read(path)
    assert not isinstance(error.value, FailedError)
    assert "\n" not in str(error.value)
    assert ": " in str(error.value)
