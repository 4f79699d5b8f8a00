"""One writer at a time: a lock file beside the file, which a killed holder leaves unlocked."""

from __future__ import annotations

import contextlib
import os
import platform
import warnings
from collections.abc import Iterator
from pathlib import Path

from poisoncli.core.errors import PoisonError

try:
    import fcntl
except ImportError:  # Windows: writers are not kept apart
    fcntl = None

_LONGEST = 100  # letters of a holder's name that are read


@contextlib.contextmanager
def writing(path: Path, *, wait: bool = True, shown: Path | None = None) -> Iterator[None]:
    """Hold `path` for one writer; it need not exist. The lock file beside it goes when the holder does.

    wait: where another process holds it, wait (with a warning that says for whom) instead of raising `PoisonError`.
    shown: what is said to be written; by default `path`.
    """
    real = Path(os.path.realpath(path))
    name = real.parent / f".{real.name}.lock"
    handle = _acquire(name, shown or path, wait)
    try:
        yield
    finally:
        if handle >= 0:
            _release(handle, name)


def _acquire(name: Path, path: Path, wait: bool) -> int:
    """A handle that holds the lock `name` of `path`, or -1 where the folder cannot have any."""
    if fcntl is None:
        return -1
    said = False
    while True:
        try:
            handle = os.open(name, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError:  # a folder that cannot be written to: whoever writes there will say so
            return -1
        try:
            if not _try(handle):
                holder = _holder(handle)
                if not wait:
                    raise PoisonError(
                        f"{path} is being written by {holder}: wait until it is done, or choose another name"
                    )
                if not said:
                    warnings.warn(f"waiting for {holder}, which writes {path}", stacklevel=4)
                    said = True
                fcntl.flock(handle, fcntl.LOCK_EX)
            if _is(handle, name):
                _sign(handle)
                return handle
        except OSError as error:
            os.close(handle)
            warnings.warn(f"{path} cannot be locked ({error.strerror}): let one command write it", stacklevel=4)
            return -1
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # its holder removed it in the meantime


def _try(handle: int) -> bool:
    assert fcntl is not None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is(handle: int, name: Path) -> bool:
    """Whether the file still has its name, so that all who come later meet this lock."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(name, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _sign(handle: int) -> None:
    """Write into the lock file whose it is, if the disk has room for it."""
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {platform.node()}".encode(), 0)


def _holder(handle: int) -> str:
    """Who holds the lock, in words."""
    text = os.pread(handle, _LONGEST, 0).decode(errors="replace")
    return text if text.startswith("process ") and text.isprintable() else "another process"


def _release(handle: int, name: Path) -> None:
    """Remove the lock file while it is held: who waits for it sees that it is gone, and makes his own."""
    with contextlib.suppress(OSError):
        os.unlink(name)
    os.close(handle)
