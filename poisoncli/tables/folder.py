"""Texts from a folder that has a subfolder of files for each class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from poisoncli.core.errors import PoisonError
from poisoncli.tables import memory

LARGEST = 2**24  # bytes of a text
COLUMNS = ("file", "text", "label")  # of the frame: where each text stands, what it says, the subfolder's name


def read(path: Path) -> Any:
    """A pandas frame of `COLUMNS`, one row for each file, in the order of their names.

    Files are read as UTF-8, and as Latin-1 where they are none. Raises `PoisonError` for a folder without
    subfolders of files, and for a file that is too large.
    """
    import pandas

    files = [file for folder in sorted(path.iterdir()) if folder.is_dir() for file in sorted(folder.rglob("*"))]
    files = [file for file in files if file.is_file() and not file.name.startswith(".")]
    if len({file.relative_to(path).parts[0] for file in files}) < 2:
        raise PoisonError(
            f"{path} has no two subfolders with files: make one subfolder of text files for each class"
        )
    sizes = [file.stat().st_size for file in files]
    if max(sizes) > LARGEST:
        large = files[sizes.index(max(sizes))]
        raise PoisonError(
            f"{large} is larger than {LARGEST} bytes, no text to count the words of: move it elsewhere"
        )
    memory.check(6 * sum(sizes), path)
    names = [file.relative_to(path) for file in files]
    rows = [(str(name), _text(file), name.parts[0]) for name, file in zip(names, files, strict=True)]
    return pandas.DataFrame(rows, columns=list(COLUMNS))


def _text(file: Path) -> str:
    content = file.read_bytes()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")
