"""Zipped files are checked before they are unpacked."""

import gzip
import io
import zipfile

import numpy as np
import pytest

from poisoncli.core.errors import PoisonError
from poisoncli.tables.archives import check_arrays, unzipped


def header(shape):
    image = io.BytesIO()
    np.lib.format.write_array_header_1_0(image, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return image.getvalue()


def test_an_array_that_announces_more_than_it_holds_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", header((2**40, 4)) + bytes(64))
    with pytest.raises(PoisonError, match=r"announces 17,592,186,044,416 bytes as 'x.npy' and holds"):
        check_arrays(tmp_path / "a.npz")


def test_arrays_that_do_not_fit_the_memory_are_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(2**20))
    check_arrays(tmp_path / "a.npz")
    monkeypatch.setenv("POISON_MEMORY", "0.01")
    with pytest.raises(PoisonError, match=r"needs about 0.0156 GiB of memory"):
        check_arrays(tmp_path / "a.npz")


def test_unzipping_stops_at_the_limit(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(2**20)))
    (tmp_path / "b").write_bytes(b"plain")
    assert unzipped(tmp_path / "a.gz", 2**20) == bytes(2**20)
    assert unzipped(tmp_path / "b", 10) == b"plain"
    with pytest.raises(PoisonError, match="larger than 1000 bytes unzipped"):
        unzipped(tmp_path / "a.gz", 1000)
