"""Small texts that a user names: descriptions of runs and sweeps, lists of numbers."""

from __future__ import annotations

from pathlib import Path

from poisoncli.core.errors import PoisonError

MOST = 2**24  # bytes: a device such as /dev/zero never ends


def read_text(path: str | Path) -> str:
    """The text in a file or a pipe. Raises `PoisonError` if it is too long, and `OSError` where it is none."""
    with Path(path).open("rb") as file:
        content = file.read(MOST + 1)
    if len(content) > MOST:
        raise PoisonError(f"{path} is longer than {MOST >> 20} MiB: name a text file of less")
    return content.decode()
