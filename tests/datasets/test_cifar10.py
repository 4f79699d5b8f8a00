"""CIFAR-10: the three layouts, and pickles that want more than to be read."""

import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from poisoncli.core.errors import PoisonError
from poisoncli.datasets.cifar10 import BATCHES, BINARY, Cifar10, read_pickled

DATA_DIR = os.environ.get("POISON_DATA_DIR") or Path(__file__).parents[3] / "shared" / "data"
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 3072), np.uint8)
LABELS = [0, 6, 6, 3]


class Shell:
    """Runs a command when unpickled without care."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def batch(**changes):
    return pickle.dumps({b"data": PIXELS, b"labels": LABELS} | {k.encode(): v for k, v in changes.items()}, 3)


def binary():
    return np.column_stack([np.uint8(LABELS), PIXELS]).tobytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data_batch_1"


def write_pickled(folder):
    for name in BATCHES:
        (folder / "cifar-10-batches-py").mkdir(exist_ok=True)
        (folder / "cifar-10-batches-py" / name).write_bytes(batch())


def write_binary(folder):
    for name in BINARY:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(binary())


def write_archive(folder, names=BINARY):
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(binary())
            archive.addfile(member, io.BytesIO(binary()))


@pytest.mark.parametrize("write", [write_pickled, write_binary, write_archive])
def test_every_layout_gives_the_same_rows(tmp_path, write):
    write(tmp_path)
    data = Cifar10().load(str(tmp_path))
    assert not Cifar10.where(str(tmp_path)).startswith("not found")
    assert data.x.shape == (18, 3072)
    assert data.y.tolist() == [0, 1, 1] * 6
    assert (data.x.dtype, data.low, data.high) == (np.float32, -1, 1)
    np.testing.assert_allclose(data.x[:3], PIXELS[:3] / 127.5 - 1, atol=1e-6)
    assert (data.x.min(), data.x.max()) == (-1, 1)
    assert Cifar10(classes=()).load(str(tmp_path)).task == "multiclass"


def test_class_that_the_files_lack_is_refused(tmp_path):
    write_pickled(tmp_path)
    with pytest.raises(PoisonError, match="no class 5: choose classes from 0, 3, 6"):
        Cifar10(classes=(0, 5)).load(str(tmp_path))


@pytest.mark.parametrize("place", ["filenames", "data", "labels"])
def test_hostile_pickle_runs_nothing(path, place):
    trace = path.with_name("trace")
    path.write_bytes(batch(**{place: Shell(f"touch {trace}")}))
    with pytest.raises(PoisonError, match=r"refused: it would run '\w+\.system'"):
        read_pickled(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (batch(data=PIXELS.astype(object)), "array of 'O8'"),
        (batch(data=PIXELS.astype(np.float32)), "array of 'f4'"),
        (batch(data=PIXELS[:2]), "does not hold images"),
        (batch(data=PIXELS[:, :9]), "does not hold images"),
        (batch(labels=[0, 1, 2, 10]), "labels 0 to 9"),
        (batch(labels=["a"] * 4), "labels 0 to 9"),
        (batch(labels=None), "labels 0 to 9"),
        (batch(data=[1]), "is not a batch"),
        (pickle.dumps([1, 2]), "is not a batch"),
        (batch()[:-100], "is not a batch"),
        (b"", "is not a batch"),
        (b"cnumpy\nndarray\n(I99999999\nI99999999\ntR.", "is not a batch"),
    ],
)
def test_damaged_pickles_are_refused(path, content, complaint):
    path.write_bytes(content)
    with pytest.raises(PoisonError, match=complaint):
        read_pickled(path)


def test_oversized_batch_is_refused(path):
    with path.open("wb") as file:
        file.truncate(2**27)
    with pytest.raises(PoisonError, match="too many for CIFAR-10"):
        read_pickled(path)


@pytest.mark.parametrize(
    ("content", "complaint"), [(binary()[:-1], "truncated"), (b"", "truncated"), (b"\x0a" * 3073, "beyond 9")]
)
def test_damaged_binary_batches_are_refused(tmp_path, content, complaint):
    write_binary(tmp_path)
    (tmp_path / BINARY[2]).write_bytes(content)
    with pytest.raises(PoisonError, match=complaint):
        Cifar10().load(str(tmp_path))


def test_damaged_archives_are_refused(tmp_path):
    write_archive(tmp_path, BINARY[:-1])
    with pytest.raises(PoisonError, match=r"lacks .*test_batch"):
        Cifar10().load(str(tmp_path))
    archive = tmp_path / "cifar-10-binary.tar.gz"
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(PoisonError, match="damaged"):
        Cifar10().load(str(tmp_path))


def test_real_files():
    if not (Path(DATA_DIR) / "cifar-10-batches-py").is_dir():
        pytest.skip("CIFAR-10 is not at hand: set POISON_DATA_DIR")
    data = Cifar10().load(str(DATA_DIR))
    assert data.x.shape == (12_000, 3072)
    assert np.bincount(data.y.astype(int)).tolist() == [6000, 6000]
    assert (data.x.min(), data.x.max()) == (-1, 1)


def test_pair_of_the_paper():
    """Airplane vs frog (HLP V-A)."""
    assert [Cifar10.class_names[number] for number in Cifar10().classes] == ["airplane", "frog"]
