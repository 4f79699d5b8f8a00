"""Tables from CSV, Parquet, NPZ, HDF5 and svmlight files, none of which is trusted."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from poisoncli.core.errors import PoisonError
from poisoncli.tables import memory
from poisoncli.tables.archives import check_arrays
from poisoncli.tables.csv_file import read_csv

LOG = logging.getLogger(__name__)
_LINES = (".csv", ".tsv", ".svm", ".libsvm", ".svmlight")  # text, whose rows people count from 1
_DENSE = 20  # bytes that a value takes at most while a table is read: in the file's frame, as float64 and float32
_SPARSE = 24  # the same for an entry of sparse rows
CSR = ("data", "indices", "indptr", "shape")  # arrays that SciPy's `save_npz` and `poison export` write


class Raw(NamedTuple):
    """What a file holds.

    frame: a pandas frame of its columns, in their order, the target among them. Cells are missing where empty.
    x: sparse features [N, m] (CSR) beside the frame, which then holds the target alone; else None.
    target: the column of the targets where the format tells; else empty.
    arrays: whether the features were one array, and no columns with names of the user's.
    """

    frame: Any
    x: Any = None
    target: str = ""
    arrays: bool = False


def read(path: Path, target: str = "", more: Collection[str] = ()) -> Raw:
    """Read the file in the format that the end of its name tells.

    target: the array of the targets in an NPZ or HDF5 file, by default y; more: other arrays wanted of it.
    Values may be missing or infinite. Raises `PoisonError` if the file is missing, damaged, too large or of unknown
    format, or has no rows.
    """
    reader = READERS.get(kind_of(path))
    if reader is None:
        raise PoisonError(f"cannot tell the format of {path}: let its name end in {', '.join(READERS)}")
    if not path.is_file():
        raise PoisonError(f"there is no file {path}: check the path")
    if path.stat().st_size == 0:
        raise PoisonError(f"{path} is empty: give a file with rows")
    try:
        with np.errstate(over="ignore"):  # what is too large for float32 turns infinite and is reported as such
            raw = reader(path, target, more)
    except PoisonError:
        raise
    except Exception as error:  # readers raise whatever they like on damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PoisonError(f"{path} cannot be read as {kind_of(path)} ({reason}): check the file") from error
    if not len(raw.frame):
        raise PoisonError(f"{path} has 0 rows of {raw.frame.shape[1]} columns: give some of each")
    return raw


def kind_of(path: Path) -> str:
    """The end of a file's name that tells its format, without that of gzip."""
    return Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def first_row(path: Path) -> int:
    """The number of the first row as such files count: 1 below the header of a CSV, or of lines; 0 in arrays."""
    return 1 if kind_of(path) in _LINES else 0


def counted(path: Path) -> str:
    """How `first_row` counts the rows of a file, in words."""
    if path.is_dir():
        return f"files of {path.name}, from 1 in the order of their names"
    if kind_of(path) in (".csv", ".tsv"):
        return f"data rows of {path.name}, from 1 below its header"
    return f"data rows of {path.name}, from 1" if first_row(path) else f"rows of {path.name}, from 0"


def row_name(path: Path, index: int) -> str:
    """What a reader of the file calls its row `index` (from 0)."""
    first = first_row(path)
    return f"data row {index + 1}" if first else f"row {index} (counted from 0)"


def _read_csv(path: Path, target: str, more: Collection[str]) -> Raw:
    return Raw(read_csv(path))


def _read_parquet(path: Path, target: str, more: Collection[str]) -> Raw:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise PoisonError(
            "reading .parquet needs pyarrow: install it with `pip install 'poisoncli[parquet]'`"
        ) from error
    with pyarrow.parquet.ParquetFile(path) as file:
        memory.check(_DENSE * file.metadata.num_rows * file.metadata.num_columns, path)
        groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
        memory.check(2 * sum(group.total_byte_size for group in groups), path)
        table = file.read()
        table.validate(full=True)  # texts that are no UTF-8 would only be found out where they are looked at
        for number, field in enumerate(table.schema):
            if pyarrow.types.is_binary(field.type) or pyarrow.types.is_large_binary(field.type):  # unmarked texts
                table = table.set_column(number, field.name, table.column(number).cast(pyarrow.string()))
            if pyarrow.types.is_nested(field.type):
                raise PoisonError(
                    f"column {field.name!r} of {path} holds lists or records: write what is in them as columns of "
                    "their own"
                )
        frame = table.to_pandas(ignore_metadata=True)
    frame.columns = [str(name) for name in frame.columns]
    return Raw(frame)


def _read_npz(path: Path, target: str, more: Collection[str]) -> Raw:
    if not zipfile.is_zipfile(path):
        raise PoisonError(f"{path} is not an .npz file: write it with numpy.savez")
    check_arrays(path, copies=3)
    with np.load(path, allow_pickle=False) as arrays:
        return _from_arrays(lambda name: arrays[name], sorted(arrays.files), target, more, path)


def _read_hdf5(path: Path, target: str, more: Collection[str]) -> Raw:
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
        return _from_arrays(read, sorted(file), target, more, path)


def _from_arrays(
    read: Callable[[str], np.ndarray], found: list[str], target: str, more: Collection[str], path: Path
) -> Raw:
    """Features from the array x, flattened to [N, m], or from those of a CSR matrix; targets from y or as named."""
    import pandas

    target, sparse = target or "y", set(CSR) <= set(found)
    for name, cure in (
        (None if sparse else "x", "call the features x"),
        (target, "name the targets with --target"),
    ):
        if name and name not in found:
            raise PoisonError(f"{path} has no array {name!r} but {', '.join(map(repr, found))}: {cure}")
    columns = {
        name: np.squeeze(_checked(read(name), name, "biufUO", path)) for name in (target, *more) if name in found
    }
    if sparse:
        x: Any = _csr(read, path)
    else:
        x = _checked(read("x"), "x", "biuf", path)
        x = x.reshape(len(x), int(np.prod(x.shape[1:]))) if x.ndim > 2 else x
    y = columns[target] = np.atleast_1d(columns[target])
    if x.ndim != 2 or any(column.shape != (x.shape[0],) for column in columns.values()):
        raise PoisonError(
            f"{path} has features of shape {x.shape} and targets of shape {y.shape}: give one row and one target "
            "for each example"
        )
    if not min(x.shape):
        raise PoisonError(f"{path} has {x.shape[0]} rows of {x.shape[1]} features: give some of each")
    own = pandas.DataFrame(columns)
    if sparse:
        return Raw(own, x, target, arrays=True)
    memory.check(_DENSE * x.size, path)
    frame = pandas.DataFrame(x, columns=[f"x{number}" for number in range(x.shape[1])])
    return Raw(pandas.concat([frame, own], axis=1), None, target, arrays=True)


def _checked(array: np.ndarray, name: str, kinds: str, path: Path) -> np.ndarray:
    if array.dtype.kind not in kinds:
        raise PoisonError(f"array {name!r} of {path} has type {array.dtype}: store it as numbers")
    return array


def _csr(read: Callable[[str], np.ndarray], path: Path) -> Any:
    """The CSR matrix that the arrays data, indices, indptr and shape make, checked."""
    import scipy.sparse as sp

    data, indices, indptr, shape = (read(name) for name in CSR)
    memory.check(_SPARSE * data.size, path)
    x = sp.csr_matrix(
        (_checked(data, "data", "biuf", path).astype(np.float32), indices, indptr), shape=tuple(map(int, shape))
    )
    x.check_format(full_check=True)
    x.sum_duplicates()
    return x


def _read_svmlight(path: Path, target: str, more: Collection[str]) -> Raw:
    import pandas
    from sklearn.datasets import load_svmlight_file

    if target:
        raise PoisonError(f"{path} has its targets at the start of each line: leave --target out")
    memory.check(4 * path.stat().st_size, path)
    x, y = load_svmlight_file(path, dtype=np.float32)  # type: ignore[misc]
    if not min(x.shape):
        raise PoisonError(f"{path} has {x.shape[0]} rows of {x.shape[1]} features: give some of each")
    memory.check(_SPARSE * (x.nnz + x.shape[1]), path)
    return Raw(pandas.DataFrame({"y": y}), x, "y", arrays=True)


READERS: dict[str, Callable[[Path, str, Collection[str]], Raw]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
    ".npz": _read_npz,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
    ".svm": _read_svmlight,
    ".libsvm": _read_svmlight,
    ".svmlight": _read_svmlight,
}
