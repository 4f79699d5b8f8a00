"""Zipped files of which none is trusted: what they unpack to is checked before and bounded meanwhile."""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from poisoncli.core.errors import PoisonError
from poisoncli.tables import memory


def check_arrays(path: Path, copies: int = 2) -> None:
    """Raise `PoisonError` unless an .npz file holds what its arrays announce, and that fits the memory.

    copies: how often the content is held at once. NumPy makes room for what an array announces before it reads.
    """
    whole = 0
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as file:
                announced = _announced(file) if file.read(6) == b"\x93NUMPY" else 0
            if announced > entry.file_size:
                raise PoisonError(
                    f"{path} announces {announced:,} bytes as {entry.filename!r} and holds {entry.file_size:,}: "
                    "check the file"
                )
            whole += entry.file_size
    memory.check(copies * whole, path)


def _announced(file: IO[bytes]) -> int:
    """Bytes of the array whose header follows; of objects, which are refused later, 0."""
    version = tuple(file.read(2))
    reader = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}.get(version[0])
    if reader is None:
        return 0
    shape, _, kind = reader(file)
    return 0 if kind.hasobject else math.prod(shape) * kind.itemsize


def unzipped(path: Path, largest: int) -> bytes:
    """The content of a file, gzipped or plain. Raises `PoisonError` if damaged or more than `largest` bytes."""
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as file:
            content = file.read(largest + 1)
    except EOFError as error:
        raise PoisonError(f"{path} is truncated: replace it by the original") from error
    except (OSError, zlib.error) as error:
        raise PoisonError(f"{path} cannot be read ({error}): replace it by the original") from error
    if len(content) > largest:
        raise PoisonError(f"{path} is larger than {largest} bytes unzipped: replace it by the original")
    return content
