"""MNIST and Fashion-MNIST: images of 28 x 28 pixels in IDX files."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from poisoncli.core.data import Dataset, Task
from poisoncli.core.declared import as_tabled
from poisoncli.core.errors import PoisonError
from poisoncli.core.labels import fingerprint, select
from poisoncli.core.method import method
from poisoncli.tables import locate
from poisoncli.tables.archives import unzipped

PARTS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
MIRRORS = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "fmnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
}
# MD5 of each part: as downloaded (.gz), and of its content, which holds for repacked and unpacked files too.
GZIP_MD5 = {
    "mnist": (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    "fmnist": (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
}
CONTENT_MD5 = {
    "mnist": (
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
    "fmnist": (
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
}
LARGEST = 2**28  # bytes of an IDX file's content; the largest part has 47 million


class _Images:
    """Two classes or all of one folder's images; `apart` keeps the published division into training and test."""

    classes: tuple[int, ...]

    folder: ClassVar[str] = "mnist"
    apart: ClassVar[bool] = False
    sizes: ClassVar[tuple[int, int, int] | None] = (5000, 500, 3000)
    rows: ClassVar[int] = 70_000
    features: ClassVar[int] = 784
    class_names: ClassVar[tuple[str, ...]] = tuple(map(str, range(10)))

    def load(self, data_dir: str | None = None) -> Dataset:
        """All rows of the classes. Raises `PoisonError` for missing, damaged or different files."""
        parts = [_part(self.folder, number, data_dir) for number in range(4)]
        images, labels = np.concatenate(parts[::2]), np.concatenate(parts[1::2])
        rows, y, task = select(labels, self.classes)
        x = images[rows].reshape(len(rows), -1).astype(np.float32) / 255
        first = int(np.sum(rows < len(parts[1])))
        divided = (np.arange(first), np.arange(first, len(rows))) if self.apart else None
        return Dataset(x, y, 0.0, 1.0, task, fingerprint(x, y), parts=divided, numbers=rows)

    @classmethod
    def where(cls, data_dir: str | None = None) -> str:
        """Where the data lie, for the listing."""
        names = [f"{cls.folder}/{part}" for part in PARTS]
        return locate.where([name if locate.find(name, data_dir) else f"{name}.gz" for name in names], data_dir)


@method
class Mnist(_Images):
    """Handwritten digits (LeCun, Cortes and Burges 1998), training and test images in one pool.

    Pixels 0 ... 255 become features in [0, 1]. The sizes are those of "Hyperparameter Learning under Data
    Poisoning", Table III.

    classes: the digits 0 ... 9 to tell apart; empty means all ten.
    """

    classes: tuple[int, ...] = (0, 8)

    settings_of: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "logistic": as_tabled(140, 0.300, 0.10, 140, largest=5e3),
        "mlp": as_tabled(180, 0.075, 0.04, 700, largest=5e3),
    }
    selected: ClassVar[tuple[int, ...]] = (20, 40, 80)  # HLP V-B-3
    description: ClassVar[str] = "handwritten digits of 28 x 28 pixels"


@method
class MnistPair(_Images):
    """Handwritten digits in the published division into training and test images (KSL Table 1).

    classes: the digits to tell apart; empty means all ten.
    """

    classes: tuple[int, ...] = (1, 7)

    usual_model: ClassVar[str] = "svm"
    usual_attack: ClassVar[str] = "kkt"
    settings_of: ClassVar[Mapping[str, Mapping[str, Any]]] = {"svm": {"lambda": 0.01}}  # KSL Table 1
    description: ClassVar[str] = "handwritten digits 1 and 7 in their published parts"
    sizes: ClassVar[tuple[int, int, int] | None] = None
    apart: ClassVar[bool] = True


@method
class MnistTen(_Images):
    """Handwritten digits, all ten, in the published division into training and test images (KSL section 5.7).

    classes: the digits to tell apart; empty means all ten.
    """

    classes: tuple[int, ...] = ()

    task: ClassVar[Task] = "multiclass"
    usual_model: ClassVar[str] = "multisvm"
    usual_attack: ClassVar[str] = "minmax"
    description: ClassVar[str] = "handwritten digits, ten classes, in their published parts"
    sizes: ClassVar[tuple[int, int, int] | None] = None
    apart: ClassVar[bool] = True


@method
class FashionMnist(_Images):
    """Articles of clothing (Xiao, Rasul and Vollgraf 2017), training and test images in one pool.

    Pixels 0 ... 255 become features in [0, 1]. The sizes are those of "Hyperparameter Learning under Data
    Poisoning", Table III.

    classes: numbers 0 ... 9 of the articles to tell apart; empty means all ten.
    """

    classes: tuple[int, ...] = (1, 2)

    settings_of: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "logistic": as_tabled(150, 0.300, 0.04, 160, largest=5e3),
        "mlp": as_tabled(150, 0.100, 0.03, 800, largest=5e3),
    }
    selected: ClassVar[tuple[int, ...]] = (40, 80, 160)  # HLP V-B-3
    folder: ClassVar[str] = "fmnist"
    description: ClassVar[str] = "articles of clothing, 28 x 28 pixels (Fashion-MNIST)"
    class_names: ClassVar[tuple[str, ...]] = (
        "T-shirt",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    )


def read_idx(path: Path, dimensions: int, content_md5: str | None = None) -> np.ndarray:
    """Read an IDX file of unsigned bytes, gzipped or plain.

    dimensions: 3 for images [N, height, width], 1 for labels [N].
    content_md5: of the unzipped content, if it must be that very file.

    Raises `PoisonError` if the file is damaged, truncated, or not such a file.
    """
    content = unzipped(path, LARGEST)
    if content[:4] != bytes([0, 0, 8, dimensions]):
        raise PoisonError(
            f"{path} is not an IDX file of bytes in {dimensions} dimensions (its magic number is "
            f"{content[:4].hex()}): replace it by the original"
        )
    start = 4 + 4 * dimensions
    shape = struct.unpack_from(f">{dimensions}I", content, 4) if len(content) >= start else (0,)
    if len(content) < start or len(content) - start != math.prod(shape):
        raise PoisonError(
            f"{path} is truncated or too long: its header announces {math.prod(shape)} bytes and "
            f"{max(0, len(content) - start)} follow; replace it by the original"
        )
    if content_md5 not in (None, hashlib.md5(content, usedforsecurity=False).hexdigest()):
        raise PoisonError(f"{path} does not have the content of the published file: replace it or take it away")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _part(folder: str, number: int, data_dir: str | None) -> np.ndarray:
    name = f"{folder}/{PARTS[number]}"
    path = locate.find(name, data_dir) or locate.obtain(
        f"{name}.gz", [f"{MIRRORS[folder]}{PARTS[number]}.gz"], f"md5:{GZIP_MD5[folder][number]}", data_dir
    )
    return read_idx(path, 1 if "labels" in name else 3, CONTENT_MD5[folder][number])
