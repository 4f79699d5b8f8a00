"""Whether the parts of a run file go together, so that what reads them need not ask again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from poisoncli.core.data import Sparse
from poisoncli.runs import measured

ROUNDING = {"test_error", "target_loss", "target_error"}


LARGEST_LOG = 88.0  # of lambda * n: beyond, it is no float32 number


def check(content: Any) -> None:
    """Raise `ValueError` unless the arrays of a `RunFile` have the types, sizes and ranges that belong together.

    A checkpoint of runs that are crafted together lists them, and has entries for each.
    """
    described = json.loads(content.run)
    listed = described if isinstance(described, list) else [described]
    runs = [json.loads(run) if isinstance(run, str) else run for run in listed]
    if not runs or not all(isinstance(run, dict) for run in runs):
        raise ValueError("the description is no object")
    _check_split(content, runs[0])
    repetitions = len(content.split["train"])
    _check_poison(content.poison, repetitions * len(runs), repetitions, content.split["train"].shape[1])
    _demand(content.timeline.shape[1] == 2, "timeline")
    _floats([content.timeline, *content.scaler.values()])
    _demand(all(np.all(content.scaler[name] > 0) for name in ("scale", "y_scale")), "scale")
    _demand(content.real or (content.scaler["y_shift"] == 0 and content.scaler["y_scale"] == 1), "classes")
    m = content.poison.x.shape[2]
    for name, array in content.scaler.items():
        shapes = ((), (repetitions,)) if name.startswith("y_") else ((), (m,), (repetitions, m))
        _demand(array.shape in shapes, name)
    stages = (repetitions * len(runs), len(content.poison.counts))
    points = content.poison.replaced.shape[1] * _added(content.poison)
    for name, array in content.rounding.items():
        _demand(array.ndim == 3 and array.shape[:2] == stages and array.shape[2] in (2, 3), name)
        _kinds([array])
    _demand(not content.rounding or set(content.rounding) == ROUNDING, "rounding")
    for name, found in content.defenses.items():
        _check_defended(found, (*stages, content.split["train"].shape[1] + points))
        _demand(json.loads(found.choice)["name"] == name, "defense")
    _demand(set(content.evaluations) <= {"none", *content.defenses}, "evaluations")
    for found in content.evaluations.values():
        _check_evaluation(found, stages, m)
    shapes = [
        [{name: leaf.shape for name, leaf in layer.items()} for layer in found.params]
        for found in content.evaluations.values()
    ]
    _demand(all(one == shapes[0] for one in shapes), "victims")
    measured.check(content, stages)


def _check_split(content: Any, run: dict[str, Any]) -> None:
    """Row numbers: whole, and as many as the description says."""
    split = content.split
    _demand(split.keys() == {"train", "val", "test"}, "split")
    for name, rows in split.items():
        wanted = (run["repetitions"], run[f"n_{name}"])
        _demand(rows.dtype.kind in "iu" and rows.shape == wanted and bool(np.all(rows >= 0)), name)
    _demand(split["train"].size > 0 and split["test"].size > 0, "no rows")


def _check_poison(poison: Any, entries: int, repetitions: int, rows: int) -> None:
    counts, points = poison.counts, poison.replaced.shape[1]
    _demand(counts.dtype.kind in "iu" and poison.replaced.dtype.kind in "iu", "types of counts")
    _demand(len(counts) > 0 and counts[0] == 0 and bool(np.all(np.diff(counts) >= 0)), "counts")
    _demand(counts[-1] <= points and 0 <= poison.done <= poison.total, "counts")
    _demand(poison.x.shape[:2] == poison.y.shape == (entries, points), "points")
    _demand(poison.replaced.shape == (repetitions, points), "replaced")
    if not _added(poison):
        _demand(bool(np.all((poison.replaced >= 0) & (poison.replaced < rows))), "replaced")
    stages = (entries, len(counts))
    _demand(poison.log_lambda.shape[:2] == poison.loss.shape[:2] == stages, "stages")
    _demand(poison.log_lambda.shape[2] > 0, "log_lambda")
    _demand(poison.scales.shape in ((0, 0, 2), (*stages, 2)), "scales")
    _demand(poison.trail.shape in ((0, 0, 0, 0), (*poison.loss.shape, poison.x.shape[2] + 1)), "trail")
    x = poison.x
    if isinstance(x, Sparse):
        _demand(all(part.shape == x[0].shape for part in x), "points")
        _floats(part.data for part in x)
    _floats([poison.y] if isinstance(x, Sparse) else [x, poison.y])
    _kinds([poison.log_lambda, poison.loss, poison.scales, poison.memory, poison.trail])
    if poison.done == poison.total:  # -inf is no penalty
        _demand(bool(np.all(poison.log_lambda < LARGEST_LOG)), "log_lambda")  # no NaN either


def _check_defended(found: Any, shape: tuple[int, ...]) -> None:
    """Weights in [0, 1]; scores may be NaN."""
    _demand(found.weight.shape == found.score.shape == shape, "weight")
    _floats([found.weight])
    _kinds([found.score])
    _demand(bool(np.all((found.weight >= 0) & (found.weight <= 1))), "weight")


def _check_evaluation(found: Any, stages: tuple[int, int], features: int) -> None:
    """Errors of each stage; those of the validation rows are NaN where there are none."""
    for name in ("test_error", "val_error", "test_loss", "val_loss"):
        _demand(getattr(found, name).shape == stages, name)
    _demand(found.target_rate.shape in ((0, 0), stages), "target_rate")
    _demand(found.draw_spread.shape in ((0, 0), stages), "draw_spread")
    _floats([found.test_error, found.test_loss, found.norm])
    _kinds([found.val_error, found.val_loss, found.target_rate, found.draw_spread])
    _demand(len(found.params) > 0 and found.norm.shape == (*stages, len(found.params)), "norm")
    for layer in found.params:
        _demand(
            bool(layer) and all(leaf.shape[:2] == stages and leaf[0, 0].size for leaf in layer.values()), "params"
        )
        _floats(layer.values())
    _demand(np.allclose(found.norm, norms(found.params), rtol=1e-2, atol=1e-12), "norm")
    if is_linear(found.params):
        _demand(all(layer.keys() == {"w", "b"} and layer["w"].ndim == 4 for layer in found.params), "params")
        _demand(found.params[0]["w"].shape[3] == features, "params")


def norms(params: Any) -> np.ndarray:
    """The norms of layers as `Evaluation` has them, which those in the file are to be."""
    flat = [
        np.concatenate([leaf.reshape(*leaf.shape[:2], -1) for leaf in layer.values()], axis=2, dtype=float)
        for layer in params
    ]
    return np.stack([np.mean(np.square(layer), axis=2) for layer in flat], axis=2)


def is_linear(layers: Any) -> bool:
    """Whether the first layer of a victim, with axes [repetitions, stages] in front, is linear in the features."""
    return "w" in layers[0] and layers[0]["w"].ndim == 4


def _added(poison: Any) -> bool:
    """Whether the poison rows join the training rows; then none of them replaces one."""
    return poison.replaced.size == 0 or bool(np.all(poison.replaced == -1))


def _kinds(arrays: Iterable[np.ndarray]) -> None:
    _demand(all(array.dtype.kind == "f" for array in arrays), "types")


def _floats(arrays: Iterable[np.ndarray]) -> None:
    for array in arrays:
        _demand(array.dtype.kind == "f" and bool(np.all(np.isfinite(array))), "numbers")


def _demand(fits: bool, what: str) -> None:
    if not fits:
        raise ValueError(f"the arrays do not go together: {what}")
