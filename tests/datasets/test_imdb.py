"""IMDB reviews from a small file in their form: counts, stars, and what is refused."""

import gzip

import numpy as np
import pytest

from poisoncli.core.errors import MissingDataError, PoisonError
from poisoncli.datasets.imdb import FEATURES, IMDB, PARTS, read_bag


@pytest.fixture
def folder(tmp_path):
    """Two reviews to train on, gzipped, and one to test on."""
    for name, text in zip(PARTS, ("9 0:3 5:1\n2 89526:7\n", "8 1:2\n"), strict=True):
        path = tmp_path / "imdb" / name
        path.parent.mkdir(parents=True)
        (path.with_name(path.name + ".gz")).write_bytes(gzip.compress(text.encode()))
    return tmp_path


def test_counts_and_stars_come_back(folder):
    data = IMDB().load(str(folder / "imdb"))
    assert data.x.shape == (3, FEATURES)
    assert (data.x[0, 0], data.x[0, 5], data.x[1, 89_526], data.x[2, 1]) == (3, 1, 7, 2)
    assert data.x.sum() == 13
    np.testing.assert_array_equal(data.y, [1, 0, 1])
    assert data.integer
    assert data.parts is not None
    np.testing.assert_array_equal(data.parts[0], [0, 1])
    np.testing.assert_array_equal(data.parts[1], [2])


@pytest.mark.parametrize("text", ["9 0:-3\n", "9 0:0.5\n", "9 89527:1\n", "", "9 0:x\n"])
def test_what_holds_no_counts_is_refused(tmp_path, text):
    (tmp_path / "bag.feat").write_text(text)
    with pytest.raises(PoisonError, match="replace it by the original"):
        read_bag(tmp_path / "bag.feat")


def test_absent_files_are_said_with_where_to_put_them(tmp_path):
    with pytest.raises(MissingDataError, match=r"unpack aclImdb_v1\.tar\.gz"):
        IMDB().load(str(tmp_path))
