"""Tables of numbers from CSV, Parquet, NPZ, HDF5 and svmlight files, none of which is trusted."""

from __future__ import annotations

import csv
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from poisoncli.core.errors import PoisonError
from poisoncli.tables import memory
from poisoncli.tables.archives import check_arrays

LOG = logging.getLogger(__name__)
TARGET_NAMES = ("target", "label", "y")  # taken as the target column if no other is named
_LINES = (".csv", ".svm", ".libsvm", ".svmlight")  # text, whose rows people count from 1
_DENSE = 12  # bytes that a value takes at most while a table is read, as float64 and as float32


class Table(NamedTuple):
    """Features `x` [N, m] (numbers), targets `y` [N] (numbers or strings), and a name for each feature."""

    x: np.ndarray
    y: np.ndarray
    names: list[str]


def read(path: Path, target: str) -> Table:
    """Read the file in the format that the end of its name tells; `target` as in `datasets.file.File`.

    Values may still be NaN or infinite. Raises `PoisonError` if the file is missing, damaged, too large or of
    unknown format, has a feature that is not numeric, or does not tell which column is the target.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise PoisonError(f"cannot tell the format of {path}: let its name end in {', '.join(READERS)}")
    if not path.is_file():
        raise PoisonError(f"there is no file {path}: check the path")
    if path.stat().st_size == 0:
        raise PoisonError(f"{path} is empty: give a file with rows")
    try:
        with np.errstate(over="ignore"):  # what is too large for float32 turns infinite and is reported as such
            table = reader(path, target)
    except PoisonError:
        raise
    except Exception as error:  # readers raise whatever they like on damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PoisonError(f"{path} cannot be read as {path.suffix} ({reason}): check the file") from error
    if not (table.x.ndim == 2 and table.y.ndim == 1 and len(table.x) == len(table.y)):
        raise PoisonError(
            f"{path} has features of shape {table.x.shape} and targets of shape {table.y.shape}: give one "
            "row and one target for each example"
        )
    if table.x.size == 0:
        raise PoisonError(f"{path} has {table.x.shape[0]} rows of {table.x.shape[1]} features: give some of each")
    return table


def first_row(path: Path) -> int:
    """The number of the first row as such files count: 1 below the header of a CSV, or of lines; 0 in arrays."""
    return 1 if path.suffix.lower() in _LINES else 0


def counted(path: Path) -> str:
    """How `first_row` counts the rows of a file, in words."""
    if path.suffix.lower() == ".csv":
        return f"data rows of {path.name}, from 1 below its header"
    return f"data rows of {path.name}, from 1" if first_row(path) else f"rows of {path.name}, from 0"


def row_name(path: Path, index: int) -> str:
    """What a reader of the file calls its row `index` (from 0)."""
    first = first_row(path)
    return f"data row {index + 1}" if first else f"row {index} (counted from 0)"


def _read_csv(path: Path, target: str) -> Table:
    import pandas

    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file)
        header, first = next(lines, []), next(lines, None)
    _check_size(len(header) * _lines(path), path)
    if first is None:
        raise PoisonError(f"{path} has no rows below its header line: give some")
    if len(first) != len(header):
        raise PoisonError(
            f"{path} has {len(header)} column names but {len(first)} values in its first row: mend it"
        )
    # pandas would rename repeated columns, so the names are those of the header as read here
    names, skipped = [name.strip() for name in header], 1
    if _is_row(names):
        names, skipped = [str(number) for number in range(len(header))], 0
        LOG.info("%s has no header line: its columns are numbered from 0", path)
    frame = pandas.read_csv(path, header=None, skiprows=skipped, low_memory=False, encoding="utf-8-sig")
    frame.columns = names
    return _from_frame(frame, target, path)


def _is_row(cells: list[str]) -> bool:
    """Whether the first line of a CSV file is a row of numbers, and not the names of columns.

    Column numbers, 0, 1, 2, ... or 1, 2, 3, ..., are names, as pandas writes them.
    """
    counted = [[str(number + first) for number in range(len(cells))] for first in (0, 1)]
    return cells not in counted and all(map(_is_number, cells))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_parquet(path: Path, target: str) -> Table:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise PoisonError(
            "reading .parquet needs pyarrow: install it with `pip install 'poisoncli[parquet]'`"
        ) from error
    with pyarrow.parquet.ParquetFile(path) as file:
        _check_size(file.metadata.num_rows * file.metadata.num_columns, path)
        groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
        memory.check(2 * sum(group.total_byte_size for group in groups), path)
        frame = file.read().to_pandas(ignore_metadata=True)
    return _from_frame(frame, target, path)


def _from_frame(frame: Any, target: str, path: Path) -> Table:
    """Part the target column from the features, which must be numbers."""
    from pandas.api.types import is_bool_dtype, is_float_dtype, is_integer_dtype

    def numeric(kind: Any) -> bool:
        return is_bool_dtype(kind) or is_float_dtype(kind) or is_integer_dtype(kind)

    columns = list(frame.columns)
    if len(set(columns)) < len(columns):
        repeated = next(name for name in columns if columns.count(name) > 1)
        raise PoisonError(f"{path} has more than one column {repeated!r}: rename all but one")
    if len(columns) < 2:
        raise PoisonError(f"{path} has the only column {columns[0]!r}: give features and a target, between commas")
    target = _target_column(columns, target, path)
    features, targets = frame.drop(columns=target), frame[target]
    if _is_index(features.iloc[:, 0], str(features.columns[0])):
        LOG.info("the unnamed first column of %s counts the rows: it is left out", path)
        features = features.iloc[:, 1:]
    for name, kind in features.dtypes.items():
        if not numeric(kind):
            raise PoisonError(f"column {name!r} of {path} is not numeric: encode it as numbers or remove it")
    if targets.isna().any():
        row = row_name(path, int(targets.isna().to_numpy().argmax()))
        raise PoisonError(f"the target {target!r} of {path} is missing in {row}: mend or remove that row")
    y = targets.to_numpy(float) if numeric(targets.dtype) else targets.astype(str).to_numpy(object)
    return Table(features.to_numpy(float, na_value=np.nan), y, [str(name) for name in features])


def _is_index(column: Any, name: str) -> bool:
    """Whether a column is the index that `DataFrame.to_csv` writes first: without a name, counting from 0 or 1."""
    if name not in ("", "Unnamed: 0") or column.dtype.kind not in "iu":
        return False
    counted = np.arange(len(column))
    return any(np.array_equal(column, counted + first) for first in (0, 1))


def _target_column(columns: list[str], target: str, path: Path) -> str:
    usual = [name for name in columns if str(name).lower() in TARGET_NAMES]
    if target and target in columns:
        return target
    if not target and len(usual) == 1:
        LOG.info("the target is the column %r of %s: name another with --target", usual[0], path)
        return usual[0]
    shown = ", ".join(map(repr, columns[:20])) + (", ..." if len(columns) > 20 else "")
    problem = (
        f"there is no column {target!r} in {path}" if target else f"{path} does not tell which column is the target"
    )
    raise PoisonError(f"{problem}: name one with --target, out of {shown}")


def _read_npz(path: Path, target: str) -> Table:
    if not zipfile.is_zipfile(path):
        raise PoisonError(f"{path} is not an .npz file: write it with numpy.savez")
    check_arrays(path, copies=3)
    with np.load(path, allow_pickle=False) as arrays:
        return _from_arrays(lambda name: arrays[name], sorted(arrays.files), target, path)


def _read_hdf5(path: Path, target: str) -> Table:
    import h5py

    def read(name: str) -> np.ndarray:
        # Links could lead to other files of the reader's, and so could the storage of a data set.
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise PoisonError(f"{name!r} in {path} is a link, which is not followed: copy the array into it")
        array = file[name]
        if not isinstance(array, h5py.Dataset) or array.is_virtual or array.external:
            raise PoisonError(f"{name!r} in {path} is no array stored in the file itself: copy it into it")
        memory.check(3 * int(array.size or 0) * max(array.dtype.itemsize, 4), path)
        text = h5py.check_string_dtype(array.dtype)
        if array.dtype.kind == "O" and not text:
            raise PoisonError(f"{name!r} in {path} has elements of varying length: store it as numbers")
        return np.asarray(array.asstr()[...] if text else array[...])

    with h5py.File(path, "r") as file:
        return _from_arrays(read, sorted(file), target, path)


def _from_arrays(read: Callable[[str], np.ndarray], found: list[str], target: str, path: Path) -> Table:
    """Features from the array x, flattened to [N, m], and targets from the array y or the one named."""
    target = target or "y"
    for name, cure in (("x", "call the features x"), (target, "name the targets with --target")):
        if name not in found:
            raise PoisonError(f"{path} has no array {name!r} but {', '.join(map(repr, found))}: {cure}")
    x, y = read("x"), read(target)
    for name, array, kinds in (("x", x, "biuf"), (target, y, "biufUO")):
        if array.dtype.kind not in kinds:
            raise PoisonError(f"array {name!r} of {path} has type {array.dtype}: store it as numbers")
    if x.ndim > 2:
        x = x.reshape(len(x), int(np.prod(x.shape[1:])))
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    return Table(x.astype(float), y, [f"x[:, {column}]" for column in range(x.shape[-1] if x.ndim else 0)])


def _read_svmlight(path: Path, target: str) -> Table:
    from sklearn.datasets import load_svmlight_file

    if target:
        raise PoisonError(f"{path} has its targets at the start of each line: leave --target out")
    x, y = load_svmlight_file(path)  # type: ignore[misc]
    _check_size(x.shape[0] * x.shape[1], path)
    return Table(x.astype(float).toarray(), y, [f"feature {column}" for column in range(x.shape[1])])


def _check_size(values: int, path: Path) -> None:
    memory.check(_DENSE * values, path)


def _lines(path: Path) -> int:
    """How many lines a file has, or more."""
    with path.open("rb") as file:
        blocks = iter(lambda: file.read(2**20), b"")
        return 1 + sum(block.count(b"\n") + block.count(b"\r") for block in blocks)


READERS: dict[str, Callable[[Path, str], Table]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".npz": _read_npz,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
    ".svm": _read_svmlight,
    ".libsvm": _read_svmlight,
    ".svmlight": _read_svmlight,
}
