"""Poison points of other tools: by whatever names, from whatever format, and real targets too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from poisoncli.core.errors import PoisonError
from poisoncli.tables import poison

X, Y = np.array([[0.5, 2], [1, 0], [3, 4]], np.float32), np.array([1, -1, 1])
PAIRS = (
    ("x", "y"),
    ("X_attack", "y_attack"),
    ("X_poison", "Y_poison"),
    ("x_poison", "y_poison"),
    ("poisx", "poisy"),
)


@pytest.mark.parametrize(("features", "labels"), PAIRS)
@pytest.mark.parametrize("suffix", [".npz", ".mat"])
def test_names_of_other_authors_are_read(tmp_path: Path, features: str, labels: str, suffix: str) -> None:
    path = tmp_path / f"theirs{suffix}"
    arrays = {features: X, labels: Y}
    if suffix == ".npz":
        np.savez(path, **arrays)
    else:
        scipy.io.savemat(path, {**arrays, features: sp.csc_matrix(X)})
    x, y = poison.read(path)
    np.testing.assert_array_equal(x.toarray() if sp.issparse(x) else x, X)
    np.testing.assert_array_equal(y, [1, 0, 1])


def test_what_says_poison_goes_before_all_rows(tmp_path: Path) -> None:
    np.savez(tmp_path / "both.npz", X=np.zeros((9, 2)), Y=np.ones(9), X_poison=X, Y_poison=Y)
    np.testing.assert_array_equal(poison.read(tmp_path / "both.npz")[0], X)


def test_real_targets_are_read_as_they_are(tmp_path: Path) -> None:
    np.savez(tmp_path / "real.npz", poisx=X, poisy=[0.5, -3, 7])
    np.testing.assert_array_equal(poison.read(tmp_path / "real.npz", 0)[1], np.float32([0.5, -3, 7]))
    np.savez(tmp_path / "bad.npz", poisx=X, poisy=[0.5, np.nan, 7])
    with pytest.raises(PoisonError, match="no finite numbers"):
        poison.read(tmp_path / "bad.npz", 0)


def test_unknown_names_are_refused_with_those_that_are_there(tmp_path: Path) -> None:
    np.savez(tmp_path / "odd.npz", points=X, y=Y)
    with pytest.raises(PoisonError, match="no array 'x' but points, y: call features x"):
        poison.read(tmp_path / "odd.npz")
