"""The user's own files: every format, and every way in which they can be wrong."""

import pickle
import sys

import h5py
import numpy as np
import pandas as pd
import pytest

from poisoncli.core.errors import PoisonError
from poisoncli.datasets.file import File
from poisoncli.tables.encode import Encoder

X = np.array([[0, 5], [1, 6], [2, 7], [3, 9]], np.float32)
Y = np.array([1, -1, 1, -1])


def write(path, y=Y):
    """The same rows in the format that the path's name tells."""
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "label": y})
    match path.suffix:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".parquet":
            frame.to_parquet(path)
        case ".npz":
            np.savez(path, x=X, y=y)
        case ".h5":
            with h5py.File(path, "w") as file:
                file["x"] = X
                file["y"] = y.astype(h5py.string_dtype()) if y.dtype.kind == "U" else y
        case ".svm":
            lines = (f"{t} 0:{a} 1:{b}" for t, (a, b) in zip(y, X, strict=True))
            path.write_text("\n".join(lines))
    return File(str(path))


def csv(tmp_path, text, target="", classes=()):
    (tmp_path / "rows.csv").write_text(text)
    return File(str(tmp_path / "rows.csv"), target, classes).load()


def features(data):
    """All rows, encoded by all of them, in their own units."""
    rows = np.arange(len(data.y))
    return data.x.toarray() if data.table is None else Encoder.fit(data.table, rows[None]).take(rows, 0)


def refused(match):
    return pytest.raises(PoisonError, match=match)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz", ".h5", ".svm"])
def test_every_format_gives_the_same_rows(tmp_path, suffix):
    data = write(tmp_path / f"rows{suffix}").load()
    np.testing.assert_array_equal(features(data), X)
    assert data.y.tolist() == [1, 0, 1, 0]
    assert data.task == "binary"
    assert data.sparse == (suffix == ".svm")
    if not data.sparse:
        domain = Encoder.fit(data.table, np.arange(4)[None]).domain(np.arange(4), 0)
        assert (domain.low.tolist(), domain.high.tolist()) == ([0, 5], [3, 9])
        assert data.sha256 == write(tmp_path / "other.csv").load().sha256


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz", ".h5"])
def test_words_are_allowed_as_targets(tmp_path, suffix):
    file = write(tmp_path / f"rows{suffix}", np.array(["spam", "ham", "spam", "ham"]))
    assert file.load().y.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz", ".h5", ".svm"])
def test_garbage_is_refused(tmp_path, suffix):
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(b"\x00\xff garbage \x80" * 9)
    with refused("rows"):
        File(str(path)).load()


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz", ".h5", ".svm"])
def test_truncated_file_is_refused_or_shorter(tmp_path, suffix):
    path = tmp_path / f"rows{suffix}"
    write(path)
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 2])
    if suffix == ".svm":
        assert len(File(str(path)).load().y) < 4
    else:
        with refused("rows"):
            File(str(path)).load()


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz", ".h5", ".svm"])
def test_missing_and_empty_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"rows{suffix}"
    with refused("there is no file"):
        File(str(path)).load()
    path.touch()
    with refused("is empty"):
        File(str(path)).load()


def test_unknown_format_is_refused(tmp_path):
    with refused(r"let its name end in .csv, .tsv, .parquet"):
        File(str(tmp_path / "rows.xls")).load()


@pytest.mark.parametrize(
    ("targets", "task", "expected"),
    [
        ("5 7 5 7", "binary", [0, 1, 0, 1]),
        ("0.5 1.5 0.5 0.5", "binary", [0, 1, 0, 0]),
        ("10 2 3 10", "multiclass", [2, 0, 1, 2]),
        ("b c a c", "multiclass", [1, 2, 0, 2]),
        ("0.5 1 2 3", "real", [0.5, 1, 2, 3]),
        ("True False True True", "binary", [1, 0, 1, 1]),
    ],
)
def test_task_follows_from_the_targets(tmp_path, targets, task, expected):
    rows = "".join(f"{number},{target}\n" for number, target in enumerate(targets.split()))
    data = csv(tmp_path, f"a,y\n{rows}")
    assert data.task == task
    assert data.y.tolist() == expected


def test_long_numbers_name_different_classes(tmp_path):
    data = csv(tmp_path, "a,y\n1,1234567890\n2,1234567891\n", classes=("1234567891", "1234567890"))
    assert data.y.tolist() == [1, 0]


def test_many_whole_numbers_are_real(tmp_path):
    data = csv(tmp_path, "a,y\n" + "".join(f"1,{number}\n" for number in range(21)))
    assert data.task == "real"


def test_classes_pick_and_order_the_pair(tmp_path):
    text = "a,y\n1,b\n2,c\n3,a\n4,c\n"
    data = csv(tmp_path, text, classes=("c", "a"))
    assert features(data).tolist() == [[2], [3], [4]]
    assert data.y.tolist() == [0, 1, 0]
    with refused("no class d: choose classes from a, b, c"):
        csv(tmp_path, text, classes=("c", "d"))


@pytest.mark.parametrize("classes", [("3", "1"), ("3.0", "1.0")])
def test_numeric_classes_are_compared_by_value(tmp_path, classes):
    data = csv(tmp_path, "a,y\n1,1\n2,2\n3,3\n4,4.0\n", classes=classes)
    assert data.y.tolist() == [1, 0]
    with refused("no class 9: choose classes from 1, 2"):
        csv(tmp_path, "a,y\n1,1\n2,2\n", classes=("1", "9"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a,b,y\n1,1,0\n2,inf,1\n", "column 'b' is infinite or too large for float32 in data row 2"),
        ("a,y\n1e300,0\n2,1\n", "too large for float32 in data row 1"),
        ("a,y\n1,\n2,\n", "target 'y' is missing in all rows"),
        ("a,y\n1,0\n2,inf\n3,2\n", "target 'y' is infinite"),
        ("a,y\n1,1e300\n2,0\n3,1\n", "target 'y' is infinite or too large for float32 in data row 1"),
        ("a,y\n1,0\n2,0\n", "targets 'y' are all 0"),
        ("a,b,c\n1,2,3\n", "name one with --target, out of 'a', 'b', 'c'"),
        ("y,label,a\n1,2,3\n", "name one with --target, out of 'y', 'label', 'a'"),
        ("y\n1\n0\n", "no columns to learn from beside 'y'"),
        ("a,a,y\n1,2,0\n1,2,1\n", "more than one column 'a': rename all but one"),
        ("a,y\n", "no rows below its header"),
        ("a,y\n1,2,3\n", "2 column names but 3 values"),
        ("a,y\n1,0\n1,2,3\n", "cannot be read as .csv"),
    ],
)
def test_wrong_csv_is_refused(tmp_path, text, complaint):
    with refused(complaint):
        csv(tmp_path, text)


def test_unknown_target_lists_the_columns(tmp_path):
    with refused("no column 'price': name one with --target, out of 'a', 'y'"):
        csv(tmp_path, "a,y\n1,0\n", target="price")


def test_any_column_can_be_the_target(tmp_path):
    assert csv(tmp_path, "a,y\n1,5\n0,6\n", target="a").y.tolist() == [1, 0]


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    file = write(tmp_path / "rows.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with refused(r"pip install 'poisoncli\[parquet\]'"):
        file.load()


def test_npz_with_pickled_objects_is_refused(tmp_path):
    np.savez(tmp_path / "rows.npz", x=X, y=np.array([{}, 1, 2, 3], dtype=object))
    with refused("cannot be read as .npz"):
        File(str(tmp_path / "rows.npz")).load()
    (tmp_path / "rows.npz").write_bytes(pickle.dumps([1]))
    with refused("is not an .npz file"):
        File(str(tmp_path / "rows.npz")).load()


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"x": X}, "no array 'y' but 'x': name the targets with --target"),
        ({"features": X, "y": Y}, "no array 'x' but 'features', 'y'"),
        ({"x": X, "y": Y[:3]}, "one row and one target"),
        ({"x": X[:, 0], "y": Y}, "one row and one target"),
        ({"x": X[:0], "y": Y[:0]}, "0 rows of 2 features"),
        ({"x": X + 1j, "y": Y}, "array 'x' of .* has type complex"),
        ({"x": X * np.nan, "y": Y}, "no columns to learn from"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path, arrays, complaint):
    np.savez(tmp_path / "rows.npz", **arrays)
    with refused(complaint):
        File(str(tmp_path / "rows.npz")).load()


def test_images_are_flattened(tmp_path):
    np.savez(tmp_path / "rows.npz", x=X.reshape(4, 2, 1), t=Y[:, None])
    np.testing.assert_array_equal(features(File(str(tmp_path / "rows.npz"), "t").load()), X)


@pytest.mark.parametrize("kind", ["external link", "soft link", "external storage", "virtual", "group", "ragged"])
def test_hdf5_reads_nothing_but_its_own_arrays(tmp_path, kind):
    path, secret = tmp_path / "rows.h5", tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = X
    with h5py.File(path, "w") as file:
        file["y"] = Y
        match kind:
            case "external link":
                file["x"] = h5py.ExternalLink(str(secret), "/x")
            case "soft link":
                file["x"] = h5py.SoftLink("/y")
            case "external storage":
                file.create_dataset("x", (4, 2), "f4", external=[(str(secret), 0, 32)])
            case "virtual":
                layout = h5py.VirtualLayout((4, 2), "f4")
                layout[:] = h5py.VirtualSource(str(secret), "x", (4, 2))
                file.create_virtual_dataset("x", layout)
            case "group":
                file.create_group("x")
            case "ragged":
                file.create_dataset("x", (4,), h5py.vlen_dtype(np.float32))
    with refused("link, which is not followed|no array stored in the file itself|varying length"):
        File(str(path)).load()


def test_svmlight_needs_no_target(tmp_path):
    write(tmp_path / "rows.svm")
    with refused("leave --target out"):
        File(str(tmp_path / "rows.svm"), "y").load()


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz", ".h5", ".svm"])
def test_oversized_tables_are_refused(tmp_path, suffix, monkeypatch):
    file = write(tmp_path / f"rows{suffix}")
    monkeypatch.setenv("POISON_MEMORY", "1e-8")
    with refused("of memory, and the limit is .*: take fewer rows or columns"):
        file.load()


def test_svmlight_with_an_enormous_index_is_refused(tmp_path):
    (tmp_path / "rows.svm").write_text("1 2000000000:1\n0 1:1\n")
    with refused("take fewer rows or columns"):
        File(str(tmp_path / "rows.svm")).load()


def test_an_index_that_pandas_wrote_is_neither_target_nor_feature(tmp_path, caplog):
    caplog.set_level("INFO", "poisoncli")
    data = csv(tmp_path, ",a,b,y\n0,5,1,0\n1,6,2,1\n2,8,3,1\n")
    assert data.y.tolist() == [0, 1, 1]
    assert features(data).tolist() == [[5, 1], [6, 2], [8, 3]]
    assert "the target is the column 'y'" in caplog.text
    assert "counts the rows: it is left out" in caplog.text


def test_an_unnamed_column_that_counts_nothing_is_kept(tmp_path):
    assert features(csv(tmp_path, ",a,y\n7,5,0\n1,6,1\n")).tolist() == [[7, 5], [1, 6]]


def test_a_table_without_a_header_loses_no_row(tmp_path, caplog):
    caplog.set_level("INFO", "poisoncli")
    data = csv(tmp_path, "5.5,1,0\n6.5,2,1\n7.5,3,1\n", target="2")
    assert features(data).tolist() == [[5.5, 1], [6.5, 2], [7.5, 3]]
    assert data.y.tolist() == [0, 1, 1]
    assert "no header line" in caplog.text
    numbered = csv(tmp_path, "0,1,2\n5,1,0\n6,2,1\n", target="2")  # as pandas names columns
    assert features(numbered).tolist() == [[5, 1], [6, 2]]


def test_large_and_small_values_keep_their_digits(tmp_path):
    seconds = 1_700_000_000 + np.arange(79)
    pd.DataFrame({"t": seconds, "s": 1e-9 * np.arange(79), "y": seconds % 2}).to_csv(
        tmp_path / "t.csv", index=False
    )
    data = File(str(tmp_path / "t.csv")).load()
    x = features(data)
    assert len(np.unique(x[:, 0])) == len(np.unique(x[:, 1])) == 79
    np.testing.assert_array_equal(x[:, 0], seconds)


def test_few_whole_numbers_can_be_real(tmp_path):
    text = "a,y\n1,1\n2,2\n3,5\n"
    (tmp_path / "rows.csv").write_text(text)
    data = File(str(tmp_path / "rows.csv"), task="real").load()
    assert (data.task, data.y.tolist()) == ("real", [1, 2, 5])
    assert File(str(tmp_path / "rows.csv"), task="classes").load().task == "multiclass"
    with refused("leave -o dataset.task=real out"):
        (tmp_path / "words.csv").write_text("a,y\n1,b\n2,c\n")
        File(str(tmp_path / "words.csv"), task="real").load()


def test_the_classes_keep_their_names(tmp_path):
    assert csv(tmp_path, "a,y\n1,2\n2,1\n").class_names == ("1", "2")
    assert csv(tmp_path, "a,y\n1,spam\n2,ham\n", classes=("spam", "ham")).class_names == ("spam", "ham")
