"""MATLAB files are read by a process of their own."""

import os
import signal

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from poisoncli.core.errors import PoisonError
from poisoncli.tables import matlab


def test_dense_and_sparse_arrays_come_back(tmp_path):
    x, y = np.arange(12.0).reshape(4, 3), np.array([[1], [-1], [1], [-1]])
    scipy.io.savemat(tmp_path / "a.mat", {"X": sp.csc_matrix(x), "Z": x, "y": y, "odd name": "text"})
    found = matlab.read(tmp_path / "a.mat")
    assert sp.issparse(found["X"])
    np.testing.assert_array_equal(found["X"].toarray(), x)
    np.testing.assert_array_equal(found["Z"], x)
    np.testing.assert_array_equal(found["y"], y)


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0", bytes(200), b"MATLAB 7.3".ljust(126) + b"\2\1"])
def test_damaged_files_are_refused(tmp_path, content):
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(PoisonError, match=r"cannot be read as .mat"):
        matlab.read(tmp_path / "a.mat")


def test_what_crashes_the_reader_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a.mat").write_bytes(bytes(200))
    monkeypatch.setattr(matlab, "_CHILD", f"import os; os.kill(os.getpid(), {signal.SIGSEGV:d})")
    with pytest.raises(PoisonError, match="its reader crashed"):
        matlab.read(tmp_path / "a.mat")


def test_what_takes_too_long_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a.mat").write_bytes(bytes(200))
    monkeypatch.setattr(matlab, "_CHILD", "import time; time.sleep(60)")
    monkeypatch.setattr(matlab, "SECONDS", 0.2)
    with pytest.raises(PoisonError, match="takes more than"):
        matlab.read(tmp_path / "a.mat")


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="limits are kept on Linux alone")
def test_what_unpacks_to_more_than_the_limit_is_refused(tmp_path, monkeypatch):
    scipy.io.savemat(tmp_path / "a.mat", {"x": np.zeros((2**14, 2**11))}, do_compression=True)  # 256 MiB
    assert (tmp_path / "a.mat").stat().st_size < 2**20
    monkeypatch.setenv("POISON_MEMORY", "0.1")
    with pytest.raises(PoisonError, match=r"cannot be read as .mat"):
        matlab.read(tmp_path / "a.mat")
