"""Parts of a run file that do not go together are refused where it is read."""

import h5py
import numpy as np
import pytest
from small_run import described, example, refused

from poisoncli.runs import run_file, soundness

DAMAGED = {
    "no counts": lambda file: replaced(file, "attack/counts", np.zeros(0, int)),
    "counts that are no whole numbers": lambda file: replaced(file, "attack/counts", np.array([0.0, 2.0])),
    "float row numbers": lambda file: replaced(file, "split/train", np.arange(4.0)[None]),
    "boolean row numbers": lambda file: replaced(file, "split/val", np.ones((1, 4), bool)),
    "negative row numbers": lambda file: replaced(file, "split/val", -np.ones((1, 4), int)),
    "scalar points": lambda file: replaced(file, "attack/y", np.float32(1)),
    "points of words": lambda file: replaced(file, "attack/y", np.array([["a", "b"]], "S1")),
    "points that are not finite": lambda file: replaced(file, "attack/x", np.full((1, 2, 3), np.nan, np.float32)),
    "a scale of zero": lambda file: replaced(file, "split/scale", np.float32(0)),
    "a scale of other sign": lambda file: replaced(file, "split/scale", np.float32(-1)),
    "classes that are scaled": lambda file: replaced(file, "split/y_scale", np.float32(1e-9)),
    "a scale of other columns": lambda file: replaced(file, "split/scale", np.ones(2, np.float32)),
    "more points than there are": lambda file: replaced(file, "attack/counts", np.array([0, 3])),
    "row numbers beyond the rows": lambda file: replaced(file, "attack/replaced", np.array([[4, 1]])),
    "lambda of no stage": lambda file: replaced(file, "attack/log_lambda", np.zeros(3, np.float32)),
    "a lambda beyond all numbers": lambda file: replaced(
        file, "attack/log_lambda", np.full((1, 2, 1), 1e4, np.float32)
    ),
    "an empty description": lambda file: file.attrs.__setitem__("run", "{}"),
    "a description that is a list": lambda file: file.attrs.__setitem__("run", "[]"),
    "a defense that is no JSON": lambda file: defended(file, "trim", 1.0),
    "a defense with another name": lambda file: defended(file, '{"name": "l2"}', 1.0),
    "weights above 1": lambda file: defended(file, '{"name": "trim"}', 2.0),
    "a victim that lost its weights": lambda file: lacking(file, "params/0/w"),
    "a victim of other features": lambda file: evaluated(
        file, {"w": np.ones((1, 2, 1, 2)), "b": np.ones((1, 2, 1))}
    ),
    "another number of rows": lambda file: file.attrs.__setitem__("run", described(1, 5)),
}


def replaced(file, name, value):
    del file[name]
    file[name] = value


def defended(file, choice, weight):
    group = file.create_group("defend/trim")
    group.attrs["defense"], group.attrs["knows"] = choice, "nothing"
    group["weight"] = group["score"] = np.full((1, 2, 4), weight, np.float32)


def evaluated(file, layer):
    group = file.create_group("evaluate/none")
    for name in ("test_error", "val_error", "test_loss", "val_loss"):
        group[name] = np.zeros((1, 2))
    group["norm"] = soundness.norms([layer])
    for name, leaf in layer.items():
        group[f"params/0/{name}"] = leaf


def lacking(file, name):
    """An evaluation without some of the parameters that it was made with."""
    evaluated(file, {"w": np.ones((1, 2, 1, 3)), "b": np.zeros((1, 2, 1))})
    del file[f"evaluate/none/{name}"]


def test_an_evaluation_that_fits_is_read(tmp_path):
    path = tmp_path / "run.h5"
    run_file.write(path, example())
    with h5py.File(path, "r+") as file:
        evaluated(file, {"w": np.ones((1, 2, 1, 3)), "b": np.ones((1, 2, 1))})
    assert run_file.read(path).evaluations["none"].norm.shape == (1, 2, 1)


@pytest.mark.parametrize("kind", DAMAGED)
def test_parts_that_do_not_go_together_are_refused(tmp_path, kind):
    path = tmp_path / "run.h5"
    run_file.write(path, example())
    with h5py.File(path, "r+") as file:
        DAMAGED[kind](file)
    refused(path, "damaged or was not written by poison")
