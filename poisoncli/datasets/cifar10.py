"""CIFAR-10: color images of 32 x 32 pixels, from its pickled or its binary batches."""

from __future__ import annotations

import pickle
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from poisoncli.core.data import Dataset
from poisoncli.core.declared import as_tabled
from poisoncli.core.errors import PoisonError
from poisoncli.core.labels import fingerprint, select
from poisoncli.core.method import method
from poisoncli.tables import locate

BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
PICKLED = tuple(f"cifar-10-batches-py/{batch}" for batch in BATCHES)
BINARY = tuple(f"cifar-10-batches-bin/{batch}.bin" for batch in BATCHES)
ARCHIVE = "cifar-10-binary.tar.gz"
ARCHIVE_URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
ARCHIVE_MD5 = "md5:c32a1d4ab5d03f1284b67883e8d87530"
PIXELS = 3072  # 1,024 red, 1,024 green, 1,024 blue, each row by row
LARGEST = 2**26  # bytes of a batch; the published ones have 31 million


@method
class Cifar10:
    """Objects and animals (Krizhevsky 2009), training and test images in one pool, flattened.

    Pixels 0 ... 255 become features in [-1, 1], red, green and blue plane one after the other. The sizes are
    those of "Hyperparameter Learning under Data Poisoning", Table III.

    classes: numbers 0 ... 9 of the objects to tell apart; empty means all that the files hold.
    """

    classes: tuple[int, ...] = (0, 6)

    settings_of: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "logistic": as_tabled(120, 0.300, 0.01, 500, largest=1e5),
        "mlp": {**as_tabled(120, 0.100, 0.03, 800, largest=1e5), "hidden": (64, 32)},
    }
    selected: ClassVar[tuple[int, ...]] = (200, 400, 800)  # HLP V-B-3
    description: ClassVar[str] = "color images of objects and animals, 32 x 32 pixels"
    sizes: ClassVar[tuple[int, int, int]] = (5000, 1000, 2500)
    rows: ClassVar[int] = 60_000
    features: ClassVar[int] = PIXELS
    class_names: ClassVar[tuple[str, ...]] = (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )

    def load(self, data_dir: str | None = None) -> Dataset:
        """All rows of the classes. Raises `PoisonError` for missing or damaged files or an unknown class."""
        batches = _read_all(data_dir)
        labels = np.concatenate([batch_labels for _, batch_labels in batches])
        rows, y, task = select(labels, self.classes)
        x = np.concatenate([pixels for pixels, _ in batches])[rows].astype(np.float32)
        x /= 127.5
        x -= 1
        return Dataset(x, y, -1.0, 1.0, task, fingerprint(x, y), numbers=rows)

    @classmethod
    def where(cls, data_dir: str | None = None) -> str:
        """Where the data lie, for the listing."""
        for names in (PICKLED, BINARY):
            if all(locate.find(name, data_dir) for name in names):
                return locate.where(names, data_dir)
        return locate.where([ARCHIVE], data_dir)


def read_pickled(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [n, 3072] and labels [n] (both bytes) of one batch of the Python version.

    The pickle is read by an unpickler that can build nothing but numbers, strings, lists, dictionaries and
    arrays of bytes. Raises `PoisonError` for anything else in it.
    """
    _check_size(path, path.stat().st_size)
    try:
        with path.open("rb") as file:
            content = _BatchUnpickler(file, encoding="bytes").load()
        named = {key.decode() if isinstance(key, bytes) else key: value for key, value in content.items()}
        pixels, labels = named["data"].pixels, np.array(named["labels"]).reshape(-1)
    except PoisonError as error:
        raise PoisonError(f"{path} is refused: {error}") from error
    except Exception as error:  # a damaged pickle raises whatever it likes
        raise PoisonError(f"{path} is not a batch of CIFAR-10: replace it by the original") from error
    whole = pixels.shape == (len(labels), PIXELS) and labels.dtype.kind == "i"
    if not whole or len(labels) == 0 or labels.min() < 0 or labels.max() > 9:
        raise PoisonError(f"{path} does not hold images of {PIXELS} bytes with labels 0 to 9: replace it")
    return pixels, labels.astype(np.uint8)


def read_binary(content: bytes, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [n, 3072] and labels [n] (both bytes) of one batch of the binary version.

    path: named in errors. Raises `PoisonError` for a truncated batch or labels beyond 9.
    """
    if not content or len(content) % (1 + PIXELS):
        raise PoisonError(f"{path} is truncated: its size is no multiple of {1 + PIXELS} bytes; replace it")
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + PIXELS)
    if records[:, 0].max() > 9:
        raise PoisonError(f"{path} has labels beyond 9, so it is not a batch of CIFAR-10: replace it")
    return records[:, 1:], records[:, 0]


def _read_all(data_dir: str | None) -> list[tuple[np.ndarray, np.ndarray]]:
    if pickled := _find_all(PICKLED, data_dir):
        return [read_pickled(path) for path in pickled]
    if binary := _find_all(BINARY, data_dir):
        for path in binary:
            _check_size(path, path.stat().st_size)
        return [read_binary(path.read_bytes(), path) for path in binary]
    return _read_archive(locate.obtain(ARCHIVE, [ARCHIVE_URL], ARCHIVE_MD5, data_dir))


def _find_all(names: Sequence[str], data_dir: str | None) -> list[Path] | None:
    found = [path for name in names if (path := locate.find(name, data_dir))]
    return found if len(found) == len(names) else None


def _read_archive(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read the six batches straight from the archive: nothing is unpacked onto the disk."""
    batches = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                _check_size(path, member.size)  # what is skipped is unzipped too
                if member.name in BINARY and member.isreg():
                    batches[member.name] = archive.extractfile(member).read()  # type: ignore[union-attr]
    except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError) as error:
        raise PoisonError(f"{path} is damaged ({error}): replace it or take it away") from error
    if missing := [name for name in BINARY if name not in batches]:
        raise PoisonError(f"{path} lacks {missing[0]}: replace it or take it away")
    return [read_binary(batches[name], path) for name in BINARY]


def _check_size(path: Path, size: int) -> None:
    if size > LARGEST:
        raise PoisonError(f"{path} holds a batch of {size} bytes, too many for CIFAR-10: replace it")


class _Bytes:
    """Stands in for NumPy's array while unpickling: takes the state of an array of bytes and nothing else."""

    pixels: np.ndarray

    def __setstate__(self, state: Any) -> None:
        _version, shape, _dtype, by_column, content = state
        self.pixels = np.frombuffer(content, np.uint8).reshape(shape, order="F" if by_column else "C")


class _ByteType:
    """Stands in for NumPy's dtype while unpickling."""

    def __init__(self, name: Any, *_: Any) -> None:
        if name not in ("u1", b"u1"):
            raise PoisonError(f"it holds an array of {name!r} instead of bytes; get the original file")

    def __setstate__(self, state: Any) -> None:
        """Byte order and alignment do not matter to bytes."""


class _BatchUnpickler(pickle.Unpickler):
    """Admits only what the published batches contain, so that a hostile pickle cannot run code."""

    admitted: ClassVar[dict[str, Any]] = {
        "numpy.core.multiarray._reconstruct": lambda *_: _Bytes(),
        "numpy._core.multiarray._reconstruct": lambda *_: _Bytes(),
        "numpy.ndarray": _Bytes,
        "numpy.dtype": _ByteType,
    }

    def find_class(self, module_name: str, global_name: str) -> Any:
        name = f"{module_name}.{global_name}"
        if name not in self.admitted:
            raise PoisonError(f"it would run {name!r}, which no batch of CIFAR-10 does; get the original file")
        return self.admitted[name]
