"""Tables from files: names of columns, and how rows are counted; what is refused: `datasets/test_file.py`."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from poisoncli.core.errors import PoisonError
from poisoncli.tables import read

X, Y = np.array([[0.0, 5], [1, 6], [2, 7]]), np.array([1.0, 0, 1])


def write(path: Path) -> Path:
    """The same rows in the format that the path's name tells."""
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "label": Y})
    match path.suffix:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".parquet":
            frame.to_parquet(path)
        case ".npz":
            np.savez(path, x=X, y=Y)
        case ".h5":
            with h5py.File(path, "w") as file:
                file["x"], file["y"] = X, Y
        case ".svm":
            path.write_text("".join(f"{t} 0:{a} 1:{b}\n" for t, (a, b) in zip(Y, X, strict=True)))
    return path


@pytest.mark.parametrize(
    ("suffix", "names"),
    [
        (".csv", ["a", "b", "label"]),
        (".parquet", ["a", "b", "label"]),
        (".npz", ["x0", "x1", "y"]),
        (".h5", ["x0", "x1", "y"]),
        (".svm", ["y"]),
    ],
)
def test_columns_have_the_names_that_the_file_gives_them(tmp_path, suffix, names):
    raw = read.read(write(tmp_path / f"rows{suffix}"))
    assert list(raw.frame.columns) == names
    np.testing.assert_array_equal(raw.frame[names[-1]], Y)
    found = raw.x.toarray() if raw.x is not None else raw.frame[names[:2]].to_numpy()
    np.testing.assert_array_equal(found, X)


@pytest.mark.parametrize(
    ("name", "first", "counted", "third"),
    [
        ("a.csv", 1, "data rows of a.csv, from 1 below its header", "data row 3"),
        ("a.svm", 1, "data rows of a.svm, from 1", "data row 3"),
        ("a.npz", 0, "rows of a.npz, from 0", "row 2 (counted from 0)"),
        ("a.parquet", 0, "rows of a.parquet, from 0", "row 2 (counted from 0)"),
    ],
)
def test_rows_are_counted_as_the_format_counts_them(name, first, counted, third):
    assert read.first_row(Path(name)) == first
    assert read.counted(Path(name)) == counted
    assert read.row_name(Path(name), 2) == third


def test_the_arrays_of_a_csr_matrix_are_read_as_export_writes_them(tmp_path):
    x = sp.csr_matrix(X)
    np.savez(tmp_path / "rows.npz", data=x.data, indices=x.indices, indptr=x.indptr, shape=x.shape, y=Y)
    raw = read.read(tmp_path / "rows.npz")
    np.testing.assert_array_equal(raw.x.toarray(), X)
    np.savez(tmp_path / "bad.npz", data=x.data, indices=x.indices + 9, indptr=x.indptr, shape=x.shape, y=Y)
    with pytest.raises(PoisonError, match=r"cannot be read as \.npz"):
        read.read(tmp_path / "bad.npz")


def test_a_file_that_is_not_utf8_is_told(tmp_path):
    (tmp_path / "rows.csv").write_bytes("straße,y\n1,0\n".encode("latin-1"))
    with pytest.raises(PoisonError, match="not written in UTF-8: save it as UTF-8"):
        read.read(tmp_path / "rows.csv")


def test_parquet_of_bytes_is_text_and_of_lists_is_refused(tmp_path):
    """Some writers do not mark texts as such."""
    path = tmp_path / "rows.parquet"
    pd.DataFrame({"a": [b"x", b"y"], "y": [0, 1]}).to_parquet(path)
    assert read.read(path, "y").frame["a"].tolist() == ["x", "y"]
    pd.DataFrame({"a": [b"x", b"\xff"], "y": [0, 1]}).to_parquet(path)
    with pytest.raises(PoisonError, match=r"cannot be read as \.parquet"):
        read.read(path, "y")
    for cells in ([[1], [2, 3]], [{"k": 1}, {"k": 2}]):
        pd.DataFrame({"a": cells, "y": [0, 1]}).to_parquet(path)
        with pytest.raises(PoisonError, match=r"column 'a' of .* holds lists or records"):
            read.read(path, "y")
