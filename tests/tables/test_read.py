"""Tables from files: names of columns, and how rows are counted; what is refused: `datasets/test_file.py`."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

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
        (".csv", ["a", "b"]),
        (".parquet", ["a", "b"]),
        (".npz", ["x[:, 0]", "x[:, 1]"]),
        (".h5", ["x[:, 0]", "x[:, 1]"]),
        (".svm", ["feature 0", "feature 1"]),
    ],
)
def test_columns_have_the_names_that_the_file_gives_them(tmp_path, suffix, names):
    table = read.read(write(tmp_path / f"rows{suffix}"), "")
    np.testing.assert_array_equal(table.x, X)
    np.testing.assert_array_equal(table.y, Y)
    assert table.names == names


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


def test_a_missing_target_is_said_by_its_row(tmp_path):
    (tmp_path / "rows.csv").write_text("a,y\n1,0\n2,\n")
    with pytest.raises(PoisonError, match="is missing in data row 2"):
        read.read(tmp_path / "rows.csv", "")
