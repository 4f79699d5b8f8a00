"""Arrays in HDF5: named axes, units, sparse rows, and no link without end."""

import h5py
import numpy as np
import pytest
import scipy.sparse as sp

from poisoncli.core.data import Sparse
from poisoncli.runs import hdf5


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        yield file


def test_axes_have_names_and_numbers_units(file):
    hdf5.put(file, {"test_error": np.zeros((2, 3)), "replaced": np.zeros((2, 5), int), "counts": np.arange(3)})
    assert [axis.label for axis in file["test_error"].dims] == ["repetition", "stage"]
    assert [axis.label for axis in file["replaced"].dims] == ["repetition", "point"]
    assert file["test_error"].attrs["unit"] == "1"
    assert "unit" not in file["replaced"].attrs
    hdf5.scale_stages(file, file["counts"])
    np.testing.assert_array_equal(file["test_error"].dims[1]["poison rows"], [0, 1, 2])
    assert not len(file["replaced"].dims[1])


def test_large_arrays_are_compressed(file):
    hdf5.put(file, {"small": np.zeros((4, 4)), "large": np.zeros((100, 100))})
    assert (file["small"].compression, file["large"].compression) == (None, "gzip")


def test_sparse_rows_come_back(file):
    rows = Sparse(sp.random(6, 9, 0.3, format="csr", random_state=seed) for seed in range(2))
    hdf5.put(file, {"x": rows})
    found = hdf5.read_sparse(file["x"])
    for left, right in zip(found, rows, strict=True):
        assert left.shape == right.shape
        np.testing.assert_array_equal(left.toarray(), right.toarray())
    del file["x/1/indices"]
    file["x/1/indices"] = np.full(rows[1].nnz, 9)
    with pytest.raises(ValueError, match="indices"):
        hdf5.read_sparse(file["x"])
    with pytest.raises(ValueError, match="no rows"):
        hdf5.read_sparse(file.create_group("empty"))


def test_arrays_of_other_axes_or_of_words_are_refused(file):
    file["y"], file["loss"] = np.zeros(3), [b"a"]
    for name in file:
        with pytest.raises(ValueError, match=name):
            hdf5.read(file[name], name)


def test_each_link_is_told_once_and_a_circle_refused(file):
    file["a/b"] = np.zeros(1)
    assert {name for name, _ in hdf5.links(file)} == {"a", "a/b"}
    file["a/again"] = file["a"]
    with pytest.raises(ValueError, match="linked twice"):
        list(hdf5.links(file))
