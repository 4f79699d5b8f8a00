"""Files are written whole and renamed into place, so that a kill leaves the old file or the new."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import stat
import tempfile
from pathlib import Path

from poisoncli.core.errors import PoisonError, UnwritableError

try:
    import fcntl
except ImportError:  # Windows: what a kill left there stays
    fcntl = None

_ENDING = ".writing"
_TRIES = 5  # of writing a file that another host removes
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def replace(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one move; on an error nothing is left behind and the old file stays.

    The file keeps its mode and, where possible, its owner; through a symbolic link its target is written. What a
    kill in mid-write of the same file left behind is removed first; on file systems whose locks bind one host alone
    another host may take the new file for such, which is then written once more.
    Raises `UnwritableError` on a full disk, and `PoisonError` where a device, a pipe or a folder would be replaced.
    """
    check_replaceable(path)
    for left in reversed(range(_TRIES)):
        if _replaced(path, content, last=not left):
            return


def _replaced(path: Path, content: bytes, last: bool) -> bool:
    """Put `content` at `path`; False where the new file was removed meanwhile, unless this is the last trial."""
    handle, name, lock = -1, "", -1
    try:
        real = Path(os.path.realpath(path))
        _remove_abandoned(real)
        handle, name, lock = _new_file_beside(real)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _keep_mode(name, real)
        os.replace(name, real)
        return True
    except BaseException as error:
        if isinstance(error, FileNotFoundError) and name and not last and not os.path.exists(name):
            return False
        if name:
            with contextlib.suppress(OSError):
                os.unlink(name)
        if not isinstance(error, OSError):  # an interruption
            raise
        cure = "free some space there" if error.errno in _FULL else "make the file and its folder writable"
        raise UnwritableError(f"cannot write {path} ({error.strerror}): {cure}, and repeat the command") from None
    finally:
        if lock >= 0:
            os.close(lock)


def check_replaceable(path: Path) -> None:
    """Raise `PoisonError` if what stands at `path` is no file, or one that may not be written."""
    try:
        mode = path.stat().st_mode
    except OSError:  # nothing there, or out of reach: writing will tell
        return
    if stat.S_ISDIR(mode):
        raise PoisonError(f"{path} is a folder: name a file")
    if not stat.S_ISREG(mode):
        raise PoisonError(f"{path} is a device or a pipe, which would be replaced by a file: name a file")
    if not os.access(path, os.W_OK):
        raise PoisonError(f"{path} is read-only: make it writable with `chmod u+w`, or name another file")


def writable(path: Path) -> bool:
    """Whether the file at `path`, or a new one, may be written there."""
    real = Path(os.path.realpath(path))
    return os.access(real.parent, os.W_OK | os.X_OK) and (not real.exists() or os.access(real, os.W_OK))


def _keep_mode(name: str, path: Path) -> None:
    """Give the new file the mode and owner of the one that it replaces, or those of any new file."""
    try:
        old = path.stat()
    except FileNotFoundError:
        os.chmod(name, 0o666 & ~_umask())
        return
    mode, new = stat.S_IMODE(old.st_mode), os.stat(name)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        try:
            os.chown(name, old.st_uid, old.st_gid)
        except OSError:  # only the superuser gives files away; rights of the old group are no rights of another
            mode &= ~(stat.S_IRWXG | stat.S_ISUID | stat.S_ISGID)
    os.chmod(name, mode)


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
