"""Compiled programs are kept in the user's cache folder, so that the next command need not compile them again.

JAX keeps them itself, and is told where. Its own bound on their size (`jax_compilation_cache_max_size`) is not
used: it wants a library for locks, locks for every read, which fails in a folder that cannot be written to, and
never recovers from a process that was killed between the two files of an entry. So the folder is put in order
here, before JAX is imported: what a kill or a full disk left half-written is removed, and what was not used for
longest.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import sys
import time
import warnings
import zlib
from pathlib import Path

VARIABLE = "POISON_COMPILATION_CACHE"  # a folder, or `off`
LIMIT = 2**28  # bytes; an attack's programs take 0.2 MB, a network's 1 MB
_FOLDER, _LEAST = "JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
_OWN = (_FOLDER, "JAX_ENABLE_COMPILATION_CACHE")  # who sets these has decided for himself
_CHECKED = "checked"  # a file as old as the last look at the entries
_ZSTANDARD = b"\x28\xb5\x2f\xfd"  # how entries begin that JAX compressed with this library instead of zlib


def keep() -> None:
    """Let JAX, and that of processes started from here, keep what it compiles, unless the user wants otherwise.

    To be called before JAX is imported. A folder that cannot be made, or to which others could write, is not used:
    programs that are read from it are run.
    """
    folder = _folder()
    given = [name for name in _OWN if os.environ.get(name)]
    if folder is None or "jax" in sys.modules or (given and os.environ.get(_FOLDER) != str(folder)):
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_private(folder):
            return
        _check(folder)
        _shrink(folder.parent)
    except OSError:
        return
    os.environ[_FOLDER] = str(folder)
    os.environ.setdefault(_LEAST, "0")  # many small programs take as long as one large one
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")


def _folder() -> Path | None:
    """Where programs for this processor and this version of JAX belong; None where the user wants them nowhere.

    Homes may be shared by machines whose processors differ, which JAX does not tell apart.
    """
    given = os.environ.get(VARIABLE, "")
    if given == "off":
        return None
    try:
        import pooch

        parent = Path(given).expanduser() if given else Path(pooch.os_cache("poison")) / "compiled"
        version = importlib.metadata.version("jaxlib")
    except (RuntimeError, importlib.metadata.PackageNotFoundError):  # there is no home folder
        return None
    return parent.absolute() / hashlib.sha256(f"{version} {_processor()}".encode()).hexdigest()[:16]


def _processor() -> str:
    """What tells processors apart that cannot run each other's programs."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith(("flags", "features")):
                return f"{platform.machine()} {line}"
    return f"{platform.machine()} {platform.processor()}"


def _is_private(folder: Path) -> bool:
    """Whether nobody else can write to the folder, as far as the system tells."""
    if not hasattr(os, "getuid"):
        return True
    found = folder.stat()
    return found.st_uid == os.getuid() and not found.st_mode & 0o022


def _check(folder: Path) -> None:
    """Remove the entries since the last look that are not whole."""
    marker, begun = folder / _CHECKED, time.time()
    last = marker.stat().st_mtime if marker.exists() else 0.0
    for path in folder.glob("*-cache"):
        with contextlib.suppress(OSError):  # another process removed it, or the folder cannot be written to
            if path.stat().st_mtime >= last - 1 and not _is_whole(path.read_bytes()):
                path.unlink()
    with contextlib.suppress(OSError):
        marker.touch()
        os.utime(marker, (begun, begun))


def _is_whole(entry: bytes) -> bool:
    """Whether an entry is as long as it was written; one that cannot be judged is left to JAX."""
    if entry.startswith(_ZSTANDARD):
        return True
    inflate = zlib.decompressobj()
    try:
        inflate.decompress(entry)
    except zlib.error:
        return False
    return inflate.eof


def _shrink(parent: Path) -> None:
    """Remove what was not used for longest, of all versions of JAX, until the rest fits the limit."""
    found = []
    for path in parent.glob("*/*-cache"):
        with contextlib.suppress(OSError):
            status = path.stat()
            found.append((max(status.st_atime, status.st_mtime), status.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= LIMIT:
            break
        with contextlib.suppress(OSError):
            path.unlink()
        total -= size
