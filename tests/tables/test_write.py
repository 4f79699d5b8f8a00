"""Rows in the user's own terms: types that stay, cells that are changed, and every format."""

import io

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from poisoncli.core.errors import PoisonError
from poisoncli.tables import write
from poisoncli.tables.schema import WHOLE, Column

FRAME = pd.DataFrame({"a": [1, 2, 3], "b": [0.5, 1.5, 2.5], "c": ["x", "y", "z"], "kept": [7, 8, 9]})


def test_cells_are_changed_where_they_are_asked_and_types_stay():
    rows = np.array([False, True, False])
    cells = {"a": np.array([5.0]), "b": np.array([9.25]), "c": np.array(["w"], dtype=object)}
    found = write.with_cells(FRAME, rows, cells, (Column("a", WHOLE),))
    assert found["a"].tolist() == [1, 5, 3]
    assert found["a"].dtype.kind == "i"
    assert found["b"].tolist() == [0.5, 9.25, 2.5]
    assert found["c"].tolist() == ["x", "w", "z"]
    assert found["kept"].isna().tolist() == [False, True, False]  # a column without cells is empty there
    assert found["kept"].dropna().tolist() == [7, 9]
    assert FRAME["a"].tolist() == [1, 2, 3]


def test_whole_numbers_beyond_all_integers_stay_as_they_are():
    frame = pd.DataFrame({"a": [1e30, np.nan, 3.0], "b": [1.0, np.nan, 3.0]})
    found = write.with_cells(frame, np.zeros(3, bool), {}, (Column("a", WHOLE), Column("b", WHOLE)))
    assert found["a"].tolist()[::2] == [1e30, 3.0]
    assert found["b"].dtype == "Int64"


@pytest.mark.parametrize("suffix", write.FORMATS)
def test_every_format_holds_the_same_columns(suffix):
    content = io.BytesIO(write.encoded(FRAME, suffix))
    if suffix == ".npz":
        with np.load(content) as arrays:
            found = pd.DataFrame({name: arrays[name] for name in FRAME.columns})
    else:
        found = pd.read_csv(content) if suffix == ".csv" else pd.read_parquet(content)
    pd.testing.assert_frame_equal(found, FRAME, check_dtype=False)


def test_features_that_were_one_array_stand_before_the_columns():
    x = np.arange(6.0).reshape(3, 2)
    found = pd.read_csv(io.BytesIO(write.encoded(FRAME, ".csv", x)))
    assert list(found.columns) == ["x0", "x1", *FRAME.columns]
    np.testing.assert_array_equal(found[["x0", "x1"]], x)
    with np.load(io.BytesIO(write.encoded(FRAME, ".npz", sp.csr_matrix(x), {"w0": np.eye(2)}))) as arrays:
        parts = (arrays["data"], arrays["indices"], arrays["indptr"])
        np.testing.assert_array_equal(sp.csr_matrix(parts, shape=arrays["shape"]).toarray(), x)
        np.testing.assert_array_equal(arrays["w0"], np.eye(2))


def test_a_sparse_table_that_is_too_large_is_refused():
    with pytest.raises(PoisonError, match=r"is too large: export to \.npz"):
        write.encoded(FRAME, ".csv", sp.csr_matrix((3, 2**27)))
