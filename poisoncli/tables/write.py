"""Rows in the user's own terms: his columns, their order, types and labels; and files of them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from poisoncli.core.errors import PoisonError
from poisoncli.tables.schema import WHOLE, Column

_LARGEST = 2**27  # values of a dense table
FORMATS = (".npz", ".csv", ".parquet")


def with_cells(frame: Any, rows: np.ndarray, cells: Mapping[str, np.ndarray], columns: tuple[Column, ...]) -> Any:
    """A copy of a pandas frame [n] with other cells in some rows (mask [n]); a column without such is empty there.

    The types of its columns stay as far as they can; whole numbers stand there without a decimal point.
    """
    out = frame.reset_index(drop=True)
    whole = {column.name for column in columns if column.kind == WHOLE}
    for name in out.columns:
        column = _filled(out[name], rows, cells.get(name))
        fits = name in whole and column.dtype.kind == "f" and not (column.abs() >= 2**63).any()
        out[name] = column.astype("Int64") if fits else column
    return out


def _filled(column: Any, rows: np.ndarray, cells: np.ndarray | None) -> Any:
    """A column with these cells in the rows of a mask, or none there."""
    import pandas

    kind = column.dtype.kind
    if not rows.any():
        return column
    if cells is None:
        nullable = {"i": "Int64", "u": "UInt64", "b": "boolean"}.get(kind)
        return (column.astype(nullable) if nullable else column).mask(rows)
    if kind in "iu" and np.all(np.asarray(cells, float) % 1):
        kind = "f"
    if kind in "iufb":
        values = column.to_numpy(float if kind == "f" else column.dtype, copy=True)
        values[rows] = cells
        return pandas.Series(values)
    values = column.astype(object)
    values[rows] = cells
    return values if kind == "O" else values.astype(column.dtype)


def encoded(frame: Any, suffix: str, x: Any = None, columns: Mapping[str, Any] | None = None) -> bytes:
    """The content of a file of that format.

    frame: the columns of the table. x: features that were one array, [n, m] or CSR; then the frame holds the rest.
    columns: further arrays, of any shape, for .npz alone.
    """
    import pandas
    import scipy.sparse as sp

    buffer = io.BytesIO()
    if suffix == ".npz":
        arrays = {name: _array(frame[name]) for name in frame.columns}
        np.savez_compressed(buffer, **(features(x) if x is not None else {}), **arrays, **(columns or {}))
        return buffer.getvalue()
    if x is not None:
        if np.prod(x.shape, dtype=float) > _LARGEST:
            raise PoisonError(f"a table of {x.shape[0]} x {x.shape[1]} features is too large: export to .npz")
        dense = x.toarray() if sp.issparse(x) else x
        named = pandas.DataFrame(dense, columns=[f"x{number}" for number in range(dense.shape[1])])
        frame = pandas.concat([named, frame.reset_index(drop=True)], axis=1)
    if suffix == ".csv":
        return frame.to_csv(index=False).encode()
    try:
        frame.to_parquet(buffer, index=False)
    except ImportError:
        raise PoisonError("Parquet needs pyarrow: install it with `pip install 'poisoncli[parquet]'`") from None
    return buffer.getvalue()


def features(x: Any) -> dict[str, Any]:
    """What stands for features in an NPZ file: the array `x`, or the arrays of a CSR matrix as SciPy saves it."""
    import scipy.sparse as sp

    if not sp.issparse(x):
        return {"x": x}
    return {"data": x.data, "indices": x.indices, "indptr": x.indptr, "shape": np.array(x.shape)}


def _array(column: Any) -> np.ndarray:
    """A column as an array that is no object; words as text, empty where a cell is missing."""
    values = column.to_numpy()
    if values.dtype.kind in "biuf":
        return values
    try:
        return column.to_numpy(float, na_value=np.nan)
    except (ValueError, TypeError):
        return column.fillna("").astype(str).to_numpy(str)
