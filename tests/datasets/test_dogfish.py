"""Dogs against fish: features that a user brings."""

import numpy as np
import pytest

from poisoncli.core.errors import PoisonError
from poisoncli.datasets.dogfish import FILES, Dogfish


@pytest.fixture
def folder(tmp_path):
    """Both files with few rows and features, in the layout of the published ones."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(FILES):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        rows = 8 - 2 * number
        labels = np.where(np.arange(rows) % 2, 1, -1)
        np.savez(path, inception_features_val=rng.normal(size=(rows, 5)), labels=labels)
    return tmp_path


def test_both_files_make_the_data_set(folder):
    data = Dogfish().load(str(folder))
    assert data.x.shape == (14, 5)
    assert (data.x.dtype, data.y.dtype) == (np.float32, np.float32)
    assert np.bincount(data.y.astype(int)).tolist() == [7, 7]
    assert data.low == -np.inf
    train, test = data.parts
    assert (train.tolist(), test.tolist()) == (list(range(8)), list(range(8, 14)))
    assert Dogfish.where(str(folder)).endswith("dogfish")


def test_absent_files_are_told_with_their_place(tmp_path):
    with pytest.raises(PoisonError, match=r"train.npz was not found: put it into .*dogfish, or name its folder"):
        Dogfish().load(str(tmp_path))


@pytest.mark.parametrize(
    "arrays",
    [
        {"inception_features_val": np.ones((3, 5)), "labels": np.ones(2)},
        {"inception_features_val": np.full((2, 5), np.nan), "labels": np.ones(2)},
        {"features": np.ones((2, 5)), "labels": np.ones(2)},
        {"inception_features_val": np.ones(5), "labels": np.ones(5)},
    ],
)
def test_damaged_files_are_refused(folder, arrays):
    np.savez(folder / FILES[1], **arrays)
    with pytest.raises(PoisonError, match="is damaged"):
        Dogfish().load(str(folder))
    (folder / FILES[1]).write_bytes(b"no archive")
    with pytest.raises(PoisonError, match="is damaged"):
        Dogfish().load(str(folder))
