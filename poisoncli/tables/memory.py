"""How much memory a file may fill, so that none fills it all: half of what is free, or what the user says."""

from __future__ import annotations

import os
from pathlib import Path

from poisoncli.core.errors import PoisonError

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None

VARIABLE = "POISON_MEMORY"  # GiB, instead of half of what is free
_UNKNOWN = 2**33  # bytes, where the system does not tell what is free


def limit() -> int:
    """Bytes that the content of a file may fill. Raises `PoisonError` if $POISON_MEMORY is no positive number."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return free() // 2
    try:
        wanted = float(text)
    except ValueError:
        wanted = 0.0
    if not 0 < wanted < 2**30:
        raise PoisonError(f"{VARIABLE} is {text!r}: give a number of GiB, such as 8")
    return int(wanted * 2**30)


def check(needed: float, what: object, cure: str = "take fewer rows or columns") -> None:
    """Raise `PoisonError` if `what`, such as a file, needs more bytes than the limit; `cure` is what to do then."""
    most = limit()
    if needed > most:
        raise PoisonError(
            f"{what} needs about {_gib(needed)} GiB of memory, and the limit is {_gib(most)} GiB, half of what is "
            f"free: {cure}, or raise the limit with {VARIABLE}=GIB"
        )


def free() -> int:
    """Bytes that this process may still fill: of the machine, of its control group, and of its own limit."""
    found = [value for value in (_of_machine(), _of_group(), _of_process()) if value is not None]
    return max(0, min(found, default=_UNKNOWN))


def _of_machine() -> int | None:
    kilobytes = _fields("/proc/meminfo").get("MemAvailable")
    if kilobytes is not None:
        return 1024 * kilobytes
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError, AttributeError):
        return None


def _of_group() -> int | None:
    """What the control group of a container leaves, version 2 or 1."""
    places = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
    for most, used in places:
        try:
            root = Path("/sys/fs/cgroup")
            return int((root / most).read_text()) - int((root / used).read_text())
        except (OSError, ValueError):  # there is none, or it is "max"
            continue
    return None


def _of_process() -> int | None:
    """What limits on data and addresses, as `ulimit` sets them, leave."""
    if resource is None:
        return None
    status = _fields("/proc/self/status")
    found = []
    for name, used in (("RLIMIT_DATA", "VmData"), ("RLIMIT_AS", "VmSize")):
        most = resource.getrlimit(getattr(resource, name))[0]
        if most != resource.RLIM_INFINITY:
            found.append(most - 1024 * status.get(used, 0))
    return min(found, default=None)


def _fields(path: str) -> dict[str, int]:
    """The numbers of a file of `name: number unit` lines; empty where there is no such file."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    parts = (line.replace(":", " ").split() for line in lines)
    return {part[0]: int(part[1]) for part in parts if len(part) > 1 and part[1].isdigit()}


def _gib(size: float) -> str:
    return f"{size / 2**30:,.3g}"
