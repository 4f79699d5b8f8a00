"""The user's own data, from a file."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from poisoncli.core.data import Dataset, Division, Task
from poisoncli.core.errors import PoisonError
from poisoncli.core.labels import fingerprint, fingerprint_sparse, select
from poisoncli.core.method import method, option
from poisoncli.tables import inspect, read
from poisoncli.tables.inspect import Inspected, Request
from poisoncli.tables.schema import CATEGORY, DATE
from poisoncli.tables.table import Table, Words

LOG = logging.getLogger(__name__)
MOST_CLASSES = 20  # numeric targets with more distinct values are real numbers
_PARTS = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "dev": 1, "test": 2, "testing": 2}


@method
class File:
    """Rows from a file of the user's own, in the format that the end of its name tells, or texts from a folder.

    Columns are numbers, whole numbers, yes/no, categories, texts, dates or identifiers, as their cells tell, and
    are encoded by what the training rows hold. Two distinct targets make a binary task (in sorted order), words or
    3 to 20 distinct whole numbers a multiclass task, and anything else is a real target, unless `task` says
    otherwise.

    path: ends in .csv, .tsv (also .gz), .parquet, .npz, .h5, .hdf5, .svm, .libsvm or .svmlight; or a folder with a
    subfolder of text files for each class.
    target: the column of the targets; by default the only one called target, label or y. For .npz and .h5 the
    array of the targets, by default y; the array x holds the features, one row each. svmlight needs none.
    classes: the target values to tell apart, in this order, compared as text; empty means all.
    task: take the targets for `classes` or for `real` numbers; empty means as above.
    column: kinds of columns, as name=kind. ignore: columns that are left out.
    val, test: files of the validation and of the test rows; by default they are drawn from `path`.
    split_column: a column that says train, val or test. group_column: no group has rows in two parts.
    time_column: training rows come first. balance: draw as many rows of each class.
    words: the most frequent words of texts that are counted. ngrams: runs of up to so many words count too.
    """

    path: str
    target: str = ""
    classes: tuple[str, ...] = ()
    task: str = option(default="", choices=("", "classes", "real"))
    column: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    val: str = ""
    test: str = ""
    split_column: str = ""
    group_column: str = ""
    time_column: str = ""
    balance: bool = False
    words: int = option(default=8000, low=1)
    ngrams: int = option(default=1, low=1, high=5)

    description: ClassVar[str] = "your own data: .csv, .parquet, .npz, .h5 or .svm, or a folder of texts"
    scaled: ClassVar[bool] = True
    usual_trainer: ClassVar[str] = "momentum"
    settings: ClassVar[Mapping[str, Any]] = {"rate": 0.0, "epochs": 0}  # found from the rows
    settings_of: ClassVar[Mapping[str, Mapping[str, Any]]] = {"svm": {"lambda": 0.09}}  # KSL Table 1, mails
    sizes: ClassVar[None] = None
    rows: ClassVar[None] = None
    features: ClassVar[None] = None
    class_names: ClassVar[tuple[str, ...]] = ()

    def load(self, data_dir: str | None = None) -> Dataset:
        """All rows of the classes; `data_dir` is not used.

        Raises `PoisonError`, with all that must be mended, for files that are missing, damaged or of unknown
        format, for columns that cannot be used, and for targets that are all the same.
        """
        paths = [Path(path).expanduser() for path in (self.path, self.val, self.test) if path]
        return _loaded(self, tuple(_stamp(path) for path in paths))

    def inspect(self) -> Inspected:
        """What the files hold, and what will be done with each column."""
        said = (
            self.column,
            self.ignore,
            self.val,
            self.test,
            self.split_column,
            self.group_column,
            self.time_column,
        )
        return inspect.inspect(Request(self.path, self.target, *said))

    @classmethod
    def where(cls, data_dir: str | None = None) -> str:
        """Where the data lie, for the listing."""
        return "wherever you say: --dataset PATH --target COLUMN"


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when a file does."""
    known = path.stat() if path.exists() else None
    return (known.st_mtime_ns, known.st_size, known.st_ino) if known else ()


@functools.lru_cache(maxsize=1)  # the task is asked for before the rows
def _loaded(file: File, stamps: tuple[tuple[int, ...], ...]) -> Dataset:
    found = file.inspect()
    problems, path = list(found.problems), Path(file.path)
    there, targets = np.arange(len(found.frame)), None
    if found.target:
        cells = found.frame[found.target]
        there = np.flatnonzero(cells.notna().to_numpy())
        try:
            targets = _targets(cells.iloc[there], file.classes, file.task, found, file)
        except PoisonError as error:
            problems.append(str(error))
    inspect.refuse(problems, file.path)
    assert targets is not None
    chosen, y, task, names = targets
    if len(there) < len(found.frame):
        lost = len(found.frame) - len(there)
        LOG.warning("%d of %d rows have no target %r: they are left out", lost, len(found.frame), found.target)
    rows = there[chosen]
    frame = found.frame.iloc[rows].reset_index(drop=True) if len(rows) < len(found.frame) else found.frame
    table = None
    if found.x is None:
        columns = tuple(column for column in found.columns if column.name in found.used)
        table = Table(frame, columns, found.target, Words(file.words, file.ngrams), found.arrays)
        _warn_of_telling(found, frame, y)
    x: Any = None if found.x is None else found.x[rows]
    counts = x is not None and bool(np.all(x.data % 1 == 0) and np.all(x.data >= 0))
    low, high = (0.0, np.inf) if counts or x is None else (x.min(0).toarray()[0], x.max(0).toarray()[0])
    return Dataset(
        *(x, y, low, high, task, _fingerprint(table, x, y)),
        integer=counts,
        class_names=names,
        numbers=rows + read.first_row(path) if not path.is_dir() else rows + 1,
        counted=read.counted(path) + (", then those of the other files" if len(found.sizes) > 1 else ""),
        table=table,
        division=_division(file, found, frame, rows),
    )


def _warn_of_telling(found: Inspected, frame: Any, y: np.ndarray) -> None:
    for name in inspect.telling(frame, found.used, y):
        LOG.warning(
            "the column %r alone tells the target %r: if it is not known when your model predicts, leave it out "
            "with --ignore %s",
            *(name, found.target, name),
        )


def _division(file: File, found: Inspected, frame: Any, rows: np.ndarray) -> Division:
    """How the user says that the rows are parted. Raises `PoisonError` where he says it in two ways."""
    import pandas

    said = [file.test and "--test", file.split_column and "--split-column", file.group_column and "--group-column"]
    said = list(filter(None, [*said, file.time_column and "--time-column"]))
    if len(said) > 1:
        raise PoisonError(f"{' and '.join(map(str, said))} part the rows in different ways: give one of them")
    if file.val and not file.test:
        raise PoisonError(f"--val {file.val} comes without test rows: add --test FILE")
    if file.test:
        sizes = found.sizes if file.val else (found.sizes[0], 0, found.sizes[1])
        owner = np.repeat(np.arange(3), sizes)[rows]
        return Division(tuple(np.flatnonzero(owner == part) for part in range(3)), balanced=file.balance)  # type: ignore
    if file.split_column:
        words = frame[file.split_column].astype(str).str.strip().str.lower()
        owner = words.map(_PARTS)
        if owner.isna().any() or not {0, 2} <= set(owner):
            shown = ", ".join(map(repr, words.unique()[:5]))
            raise PoisonError(
                f"--split-column {file.split_column} holds {shown}: let it hold train, test and, if any, val"
            )
        return Division(tuple(np.flatnonzero(owner == part) for part in range(3)), balanced=file.balance)  # type: ignore
    if file.group_column:
        return Division(groups=pandas.factorize(frame[file.group_column])[0], balanced=file.balance)
    if file.time_column:
        return Division(times=_times(frame[file.time_column], file.time_column), balanced=file.balance)
    return Division(balanced=file.balance)


def _times(series: Any, name: str) -> np.ndarray:
    from poisoncli.tables import schema

    problems: list[str] = []
    column = schema.infer(series.to_frame(), {}, problems, str)[0]
    if column.missing or not (column.kind == DATE or series.dtype.kind in "iuf"):
        raise PoisonError(
            f"--time-column {name} has cells that are no times or numbers: mend them, or name another"
        )
    return schema.to_numbers(series, column)


def _fingerprint(table: Table | None, x: Any, y: np.ndarray) -> str:
    """The hash of the rows; of numbers alone it is the same in every format."""
    import pandas.util

    util: Any = pandas.util
    if table is None:
        return fingerprint_sparse(x, y.astype(np.float32))
    numeric = np.ascontiguousarray(table.numbers, np.float32)
    known = fingerprint(numeric, y.astype(np.float32))
    words = [one.name for one in table.columns if one.kind == CATEGORY or one.name in table.texts]
    if not words:
        return known
    digest = hashlib.sha256(known.encode())
    for name in words:
        hashes = util.hash_pandas_object(table.frame[name].astype(str), index=False)
        digest.update(np.ascontiguousarray(hashes).data)
    return digest.hexdigest()


def _targets(
    cells: Any, classes: tuple[str, ...], asked: str, found: Inspected, file: File
) -> tuple[Any, np.ndarray, Task, tuple[str, ...]]:
    """The chosen rows, their targets, the task, and the names of its classes; `cells` has none that is missing."""
    from pandas.api import types

    name = found.target
    if not len(cells):
        raise PoisonError(f"the target {name!r} is missing in all rows: name another with --target")
    numeric = types.is_numeric_dtype(cells.dtype) and not types.is_bool_dtype(cells.dtype)
    values = cells.to_numpy(float) if numeric else cells.astype(str).to_numpy(object)
    bad = np.flatnonzero(~(np.abs(values) <= np.finfo(np.float32).max)) if numeric else []
    if len(bad):
        row = read.row_name(Path(file.path), int(cells.index[bad[0]]))
        raise PoisonError(
            f"the target {name!r} is infinite or too large for float32 in {row}: mend or remove that row"
        )
    if asked == "real" and not numeric:
        raise PoisonError(f"the targets {name!r} are words, and no real numbers: leave -o dataset.task=real out")
    if asked == "real" and classes:
        raise PoisonError("real targets have no classes: give --classes, or -o dataset.task=real")
    distinct, codes = np.unique(values, return_inverse=True)
    if len(distinct) < 2:
        raise PoisonError(f"the targets {name!r} are all {distinct[0]}: give at least two different ones")
    many = len(distinct) > MOST_CLASSES or (numeric and bool(np.any(distinct % 1)))
    usual = numeric and many and len(distinct) > 2 and not classes
    if asked == "real" or (usual and asked != "classes"):
        return slice(None), values, "real", ()
    if many and not classes and len(distinct) > len(values) / 2:
        raise PoisonError(
            f"the target {name!r} has {len(distinct):,} classes in {len(values):,} rows: name another"
        )
    names = [class_name(value) for value in distinct]
    wanted = [class_name(one) for one in classes] if numeric else list(classes)
    wanted = wanted or names
    return *select(np.array(names, dtype=object)[codes], wanted), tuple(wanted)


def class_name(value: Any) -> str:
    """So that "1", "1.0", 1 and 1.0 name the same class of a numeric target."""
    try:
        number = float(value)
    except ValueError:
        return str(value)
    return str(int(number)) if number.is_integer() else str(number)
