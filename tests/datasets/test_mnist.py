"""IDX files, generated and real."""

import gzip
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pooch
import pytest

from poisoncli.core.errors import PoisonError
from poisoncli.core.split import draw
from poisoncli.datasets import mnist
from poisoncli.datasets.mnist import FashionMnist, Mnist, read_idx

DATA_DIR = os.environ.get("POISON_DATA_DIR") or Path(__file__).parents[3] / "shared" / "data"
IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    header = bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "images"


@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_reads_plain_and_gzipped(path, wrap):
    path.write_bytes(wrap(idx(IMAGES)))
    assert np.array_equal(read_idx(path, 3), IMAGES)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (idx(IMAGES)[:-1], "truncated"),
        (idx(IMAGES)[:9], "truncated"),
        (idx(IMAGES) + b"x", "too long"),
        (gzip.compress(idx(IMAGES), mtime=0)[:-12], "truncated"),
        (gzip.compress(idx(IMAGES), mtime=0)[:-8] + bytes(8), "cannot be read"),
        (idx(IMAGES, kind=9), "magic number"),
        (idx(IMAGES[0]), "magic number"),
        (b"", "magic number"),
    ],
)
def test_damaged_files_are_refused(path, content, complaint):
    path.write_bytes(content)
    with pytest.raises(PoisonError, match=complaint):
        read_idx(path, 3)


def test_announced_size_is_not_believed(path):
    path.write_bytes(bytes([0, 0, 8, 3]) + struct.pack(">3I", *[2**32 - 1] * 3))
    with pytest.raises(PoisonError, match="truncated"):
        read_idx(path, 3)


def test_gzip_bomb_is_refused(path, monkeypatch):
    monkeypatch.setattr(mnist, "LARGEST", 1000)
    path.write_bytes(gzip.compress(bytes(2000), mtime=0))
    with pytest.raises(PoisonError, match="larger than 1000 bytes"):
        read_idx(path, 3)


def test_content_is_what_is_checked(path):
    known = hashlib.md5(idx(IMAGES)).hexdigest()
    path.write_bytes(gzip.compress(idx(IMAGES), 1))
    read_idx(path, 3, known)
    path.write_bytes(idx(255 - IMAGES))
    with pytest.raises(PoisonError, match="not have the content of the published file"):
        read_idx(path, 3, known)


def test_missing_files_are_told_with_their_place(tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError

    monkeypatch.setattr(pooch, "retrieve", unreachable)
    monkeypatch.setattr(pooch, "os_cache", lambda _: tmp_path / "cache")
    expected = f"train-images-idx3-ubyte.gz was not found .* put it into {tmp_path / 'mnist'}, or name"
    with pytest.raises(PoisonError, match=expected):
        Mnist().load(str(tmp_path))


def test_other_files_of_the_same_name_are_refused(tmp_path):
    (tmp_path / "mnist").mkdir()
    for name in mnist.PARTS:
        (tmp_path / "mnist" / name).write_bytes(idx(IMAGES))
    with pytest.raises(PoisonError, match="replace it or take it away"):
        Mnist().load(str(tmp_path))


@pytest.mark.parametrize(("dataset", "folder"), [(Mnist, "mnist"), (FashionMnist, "fmnist")])
def test_real_files(dataset, folder):
    if not (Path(DATA_DIR) / folder).is_dir():
        pytest.skip(f"{folder} is not at hand: set POISON_DATA_DIR")
    data = dataset().load(str(DATA_DIR))
    assert dataset.where(str(DATA_DIR)).endswith(folder)
    assert data.x.shape == (len(data.y), 784)
    assert (data.x.dtype, data.x.min(), data.x.max()) == (np.float32, 0, 1)
    assert np.bincount(data.y.astype(int)).tolist() == {"mnist": [6903, 6825], "fmnist": [7000, 7000]}[folder]
    parts = draw(np.random.default_rng(0), data.y, data.task, dataset.sizes)
    assert tuple(map(len, parts)) == (5000, 500, 3000)


@pytest.mark.parametrize(
    ("classes", "names"), [((0, 2), ("T-shirt", "pullover")), (FashionMnist().classes, ("trouser", "pullover"))]
)
def test_pairs_of_the_papers(classes, names):
    """T-shirt vs pullover in RCH, trouser vs pullover in HLP."""
    assert tuple(FashionMnist.class_names[number] for number in classes) == names
    if not (Path(DATA_DIR) / "fmnist").is_dir():
        pytest.skip("fmnist is not at hand: set POISON_DATA_DIR")
    data = FashionMnist(classes=classes).load(str(DATA_DIR))
    assert np.bincount(data.y.astype(int)).tolist() == [7000, 7000]
    brightness = [data.x[data.y == label].mean() for label in (0, 1)]
    assert brightness[1] > brightness[0]  # pullovers have long sleeves
