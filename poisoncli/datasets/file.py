"""The user's own data, from a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from poisoncli.core.data import Dataset, Task
from poisoncli.core.errors import PoisonError
from poisoncli.core.labels import fingerprint, select
from poisoncli.core.method import method, option
from poisoncli.tables import read

MOST_CLASSES = 20  # numeric targets with more distinct values are real numbers


@method
class File:
    """Rows from a file of the user's own, in the format that the end of its name tells.

    Two distinct targets make a binary task (in sorted order), words or 3 to 20 distinct whole
    numbers a multiclass task, and anything else is a real target, unless `task` says otherwise. The domain of a
    feature is the range of its values in the chosen rows.

    path: ends in .csv, .parquet, .npz, .h5, .hdf5, .svm, .libsvm or .svmlight.
    target: the column of the targets; by default the only one called target, label or y. For .npz and .h5 the
    array of the targets, by default y; the array x holds the features, one row each. svmlight needs none; its
    rows are held dense, 4 bytes a value, at most 2^30 values.
    classes: the target values to tell apart, in this order, compared as text; empty means all.
    task: take the targets for `classes` or for `real` numbers; empty means as above.
    """

    path: str
    target: str = ""
    classes: tuple[str, ...] = ()
    task: str = option(default="", choices=("", "classes", "real"))

    description: ClassVar[str] = "your own data: .csv, .parquet, .npz, .h5 or .svm"
    scaled: ClassVar[bool] = True
    usual_trainer: ClassVar[str] = "momentum"
    settings: ClassVar[Mapping[str, Any]] = {"rate": 0.0, "epochs": 0}  # found from the rows
    sizes: ClassVar[None] = None
    rows: ClassVar[None] = None
    features: ClassVar[None] = None
    class_names: ClassVar[tuple[str, ...]] = ()

    def load(self, data_dir: str | None = None) -> Dataset:
        """All rows of the classes; `data_dir` is not used.

        Raises `PoisonError` for a file that is missing, damaged or of unknown format, for text, missing or
        infinite values among the features, and for targets that are all the same.
        """
        table = read.read(Path(self.path).expanduser(), self.target)
        _check_finite(table.x, table.names, self.path)
        rows, y, task, names = _targets(table.y, self.classes, self.task, self.path)
        x, path = table.x[rows], Path(self.path)
        known = fingerprint(x.astype(np.float32), y.astype(np.float32))
        return Dataset(
            *(x, y, x.min(0), x.max(0), task, known),
            class_names=names,
            numbers=np.arange(len(table.y))[rows] + read.first_row(path),
            counted=read.counted(path),
        )

    @classmethod
    def where(cls, data_dir: str | None = None) -> str:
        """Where the data lie, for the listing."""
        return "wherever you say: --dataset PATH --target COLUMN"


def _check_finite(values: np.ndarray, names: list[str], path: str) -> None:
    """Refuse NaN and infinity in [N, m] with the first place they occur."""
    bad = np.argwhere(~(np.abs(values) <= np.finfo(np.float32).max))
    if len(bad):
        row, column = bad[0]
        kind = "missing (NaN)" if np.isnan(values[row, column]) else "infinite or too large for float32"
        raise PoisonError(
            f"column {names[column]!r} of {path} is {kind} in {read.row_name(Path(path), row)}: mend or remove "
            "that row"
        )


def _targets(
    values: np.ndarray, classes: tuple[str, ...], asked: str, path: str
) -> tuple[Any, np.ndarray, Task, tuple[str, ...]]:
    """The chosen rows, their targets, the task, and the names of its classes."""
    if values.dtype.kind in "biuf":
        values = values.astype(float)
        _check_finite(values[:, None], ["of the targets"], path)
    elif asked == "real":
        raise PoisonError(f"the targets of {path} are words, and no real numbers: leave -o dataset.task=real out")
    if asked == "real" and classes:
        raise PoisonError("real targets have no classes: give --classes, or -o dataset.task=real")
    distinct, codes = np.unique(values, return_inverse=True)
    if len(distinct) < 2:
        raise PoisonError(f"the targets of {path} are all {distinct[0]}: give at least two different ones")
    numeric = distinct.dtype.kind == "f"
    many = len(distinct) > MOST_CLASSES or (numeric and bool(np.any(distinct % 1)))
    usual = numeric and many and len(distinct) > 2 and not classes
    if asked == "real" or (usual and asked != "classes"):
        return slice(None), values, "real", ()
    names = [_class_name(value) for value in distinct]
    wanted = [_class_name(name) for name in classes] if numeric else list(classes)
    wanted = wanted or names
    return *select(np.array(names, dtype=object)[codes], wanted), tuple(wanted)


def _class_name(value: Any) -> str:
    """So that "1", "1.0", 1 and 1.0 name the same class of a numeric target."""
    try:
        number = float(value)
    except ValueError:
        return str(value)
    return str(int(number)) if number.is_integer() else str(number)
