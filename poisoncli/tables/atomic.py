"""Files are written whole and renamed into place, so that a kill leaves the old file or the new."""

from __future__ import annotations

import contextlib
import glob
import os
import tempfile
from pathlib import Path

from poisoncli.core.errors import FailedError

try:
    import fcntl
except ImportError:  # Windows: what a kill left there stays
    fcntl = None

_ENDING = ".writing"


def replace(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one move; on an error nothing is left behind and the old file stays.

    What a kill in mid-write of the same file left behind is removed first. Raises `FailedError` on a full disk.
    """
    handle, name, lock = -1, "", -1
    try:
        _remove_abandoned(path)
        handle, name, lock = _new_file_beside(path)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException as error:
        if name:
            with contextlib.suppress(OSError):
                os.unlink(name)
        if not isinstance(error, OSError):  # an interruption
            raise
        cure = "free some space, or name another place with --out"
        raise FailedError(f"cannot write {path} ({error.strerror}): {cure}") from None
    finally:
        if lock >= 0:
            os.close(lock)


def _new_file_beside(path: Path) -> tuple[int, str, int]:
    """A new file to write: its handle, its name, and a handle that holds a lock on it until closed (or -1)."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_ENDING)
        lock = _locked(name)
        if os.path.exists(name):
            return handle, name, lock
        os.close(handle)  # another process took it for abandoned before it was locked
        if lock >= 0:
            os.close(lock)


def _remove_abandoned(path: Path) -> None:
    """Remove the unfinished files of `path` that nobody holds a lock on: their writers were killed."""
    if fcntl is None:
        return
    for name in glob.glob(glob.escape(str(path.parent / f".{path.name}.")) + "????????" + _ENDING):
        lock = _locked(name)
        if lock >= 0:
            with contextlib.suppress(OSError):
                os.unlink(name)
            os.close(lock)


def _locked(name: str) -> int:
    """A handle that holds a lock on the file, or -1 where somebody else has it or there are no locks."""
    if fcntl is None:
        return -1
    handle = -1
    try:
        handle = os.open(name, os.O_RDWR)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if handle >= 0:
            os.close(handle)
        return -1
    return handle


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
