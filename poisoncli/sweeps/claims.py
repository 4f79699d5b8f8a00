"""Who works on which unit of a sweep: files that any process on any host can make, read and take over.

A claim is the file UNIT.GENERATION.claim, made exclusively (O_EXCL, which holds on NFS from version 3 on), so that
of many processes one gets it. To take over from a process that is gone is to make the claim of the next generation:
of two takers one gets it, and neither can hit the other's claim, as he could by removing or renaming the old one.
The highest generation counts. All claims of a unit go together, once it is done or has failed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import functools
import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from poisoncli.core.errors import UnwritableError

HEARTBEAT = 30.0  # seconds between two signs of life
TELL = 5.0  # seconds, at least, between two words on how far a unit is
STALE = 600.0  # seconds without one, after which a claim may be taken over
WATCH = 60.0  # seconds in which a claim that looks stale must show no sign of life: clocks jump
ENDING = ".claim"
_SIZE = 1024  # bytes of a claim, always: it is written in place, in one call
_GONE = ("Z", "X")  # states of a process that has ended


@dataclasses.dataclass(frozen=True)
class Claim:
    """What a claim file says.

    unit, generation: as in its name. host, process, job: whose it is, and of which job of a cluster; system and
    started: so that a process of the same number, later or on another host of that name, is not taken for it.
    since: when it was made (by its host's clock, for people). done, total, what: how far it is.
    released: its holder stopped before the unit was done. modified: when the file was last written, in seconds by
    the clock of the file system.
    """

    unit: str
    generation: int
    modified: float
    host: str = ""
    system: str = ""
    process: int = 0
    started: str = ""
    job: str = ""
    since: str = ""
    done: int = 0
    total: int = 0
    what: str = ""
    released: bool = False

    @property
    def holder(self) -> str:
        """Whose it is, in words."""
        if not self.process:
            return "a process that has just begun"
        return f"process {self.process} on {self.host}" + (f" ({self.job})" if self.job else "")


class Claims:
    """The claims in a folder, as one process sees them over time. The folder must exist when a claim is taken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[str, tuple[Claim, float]] = {}  # when, by the monotonic clock, a claim was first as it is

    def all(self) -> dict[str, Claim]:
        """The claim that counts of each unit that has one."""
        newest: dict[str, int] = {}
        for unit, generation in _names(self.folder):
            newest[unit] = max(generation, newest.get(unit, 0))
        read = (_read(self.folder, unit, generation) for unit, generation in newest.items())
        return {claim.unit: claim for claim in read if claim is not None}

    def free(self, claim: Claim) -> bool:
        """Whether a claim may be taken over: it was released, its process is gone, or it shows no sign of life."""
        if let_go(claim):
            return True
        known, first = self._seen.get(claim.unit, (None, 0.0))
        now = time.monotonic()
        if known != claim:
            self._seen[claim.unit] = (claim, now)
            return False
        watched = now - first
        return watched >= STALE or (watched >= WATCH and self.silent(claim))

    def end(self, claim: Claim, first: Callable[[Held], None] = lambda held: None) -> bool:
        """Whether a claim is free, for all to see from now on: who has watched it long enough tells the others.

        first: what this one of all does, holding it, before he lets it go.
        """
        if not claim.released and self.free(claim):
            held = self.take(claim.unit)
            if isinstance(held, Claim):
                return held.released
            with held:
                first(held)
            return True
        return claim.released

    def silent(self, claim: Claim) -> bool:
        """Whether a claim shows no sign of life."""
        return self.age(claim) >= STALE

    def age(self, claim: Claim) -> float:
        """Seconds since the last sign of life, by the clock of the file system: those of two hosts may differ."""
        probe = self.folder / f".{os.getpid()}-{threading.get_ident()}.clock"
        try:
            probe.touch()
            return probe.stat().st_mtime - claim.modified
        except OSError:  # it cannot be told
            return 0.0
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()

    def take(self, unit: str) -> Held | Claim:
        """The claim, held from now on; or that of another, who keeps it.

        Raises `UnwritableError` where no file can be made.
        """
        before = self._newest(unit)
        if before is not None and not self.free(before):
            return before
        own = _own(unit, before.generation + 1 if before else 0)
        path = _path(self.folder, unit, own.generation)
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        except FileExistsError:
            return self._newest(unit) or own
        except OSError as error:
            raise unwritable(path, error) from None
        try:
            os.write(handle, _text(own))
        except OSError as error:
            os.close(handle)
            path.unlink(missing_ok=True)
            raise unwritable(path, error) from None
        newest = self._newest(unit)
        if newest is not None and newest.generation > own.generation:  # what was listed before was out of date
            os.close(handle)
            path.unlink(missing_ok=True)
            return newest
        return Held(self.folder, own, handle)

    def _newest(self, unit: str) -> Claim | None:
        found = [generation for name, generation in _names(self.folder) if name == unit]
        return _read(self.folder, unit, max(found)) if found else None


class Held:
    """A claim of this process, kept alive by a thread until it is released, which leaving its context does.

    A thread, since a training is one call of compiled code, in which other threads run on.
    settled: set it when nothing is left to be done. overtaken: a heartbeat found that another has taken it over.
    """

    def __init__(self, folder: Path, claim: Claim, handle: int) -> None:
        self.folder, self.settled, self.overtaken = folder, False, False
        self._claim, self._handle = claim, handle
        self._ended, self._writes, self._written = threading.Event(), threading.Lock(), time.monotonic()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def tell(self, done: int, total: int, what: str) -> None:
        """How far it is, for all to see in a few seconds."""
        self._claim = dataclasses.replace(self._claim, done=done, total=total, what=what)
        if time.monotonic() - self._written > TELL:
            self._write()

    def lost(self) -> bool:
        """Whether another has taken it over, since this process was silent for long."""
        own, after = (_path(self.folder, self._claim.unit, self._claim.generation + more) for more in (0, 1))
        try:
            return after.exists() or not own.exists()
        except OSError:  # a network that fails for a while
            return False

    def __enter__(self) -> Held:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release it: with the files of all generations if the unit is `settled`, else for whoever comes next."""
        self._ended.set()
        self._thread.join()
        unit, generation = self._claim.unit, self._claim.generation
        if not self.settled:
            self._claim = dataclasses.replace(self._claim, released=True)
            self._write()
        os.close(self._handle)
        if self.settled:
            with contextlib.suppress(OSError):
                own = sorted(found for name, found in _names(self.folder) if name == unit and found <= generation)
                for found in own:  # its own last: until then nobody takes a lower one for that which counts
                    _path(self.folder, unit, found).unlink(missing_ok=True)

    def _live(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            self._write()
            self.overtaken = self.overtaken or self.lost()

    def _write(self) -> None:
        with self._writes, contextlib.suppress(OSError):
            self._written = time.monotonic()
            if os.utime in os.supports_fd:  # on a full disk this is all
                os.utime(self._handle)
            os.lseek(self._handle, 0, os.SEEK_SET)
            os.write(self._handle, _text(self._claim))


def unwritable(path: Path, error: OSError) -> UnwritableError:
    """What is told where a file of a sweep cannot be made."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    cure = "free some space there" if full else "make the folder writable"
    return UnwritableError(f"cannot write {path} ({error.strerror}): {cure}, and repeat the command")


@functools.cache
def system() -> str:
    """Which running system this is: two hosts may have one name, and containers one host but not its processes."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def started(process: int) -> str:
    """When a process of this system began, in its own units; empty if there is none, or where it cannot be told."""
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if words[0] in _GONE else words[19]


def let_go(claim: Claim) -> str:
    """Why nobody holds a claim any more, as far as this system tells: `released` or `gone`; empty if one may."""
    return "released" if claim.released else "gone" if gone(claim) else ""


def gone(claim: Claim) -> bool:
    """Whether a claim is of a process of this system that is not there any more."""
    return claim.system == system() and claim.started != "" and started(claim.process) != claim.started


def job() -> str:
    """The job of a cluster in which this process runs; empty outside of one."""
    names = {"SLURM_JOB_ID": "Slurm", "PBS_JOBID": "PBS", "LSB_JOBID": "LSF", "JOB_ID": "job"}
    found = next((f"{words} {os.environ[name]}" for name, words in names.items() if os.environ.get(name)), "")
    task = os.environ.get("SLURM_ARRAY_TASK_ID", "") if found else ""
    return f"{found}, task {task}" if task else found


def _own(unit: str, generation: int) -> Claim:
    """A claim of this process."""
    process, since = os.getpid(), datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Claim(unit, generation, 0.0, platform.node(), system(), process, started(process), job(), since)


def _path(folder: Path, unit: str, generation: int) -> Path:
    return folder / f"{unit}.{generation}{ENDING}"


def _names(folder: Path) -> Iterator[tuple[str, int]]:
    """Unit and generation of each claim file."""
    try:
        found = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in found:
        unit, _, generation = name.removesuffix(ENDING).rpartition(".")
        if name.endswith(ENDING) and unit and generation.isdecimal():
            yield unit, int(generation)


def _text(claim: Claim) -> bytes:
    kept = {key: value for key, value in dataclasses.asdict(claim).items() if key not in _NAMED}
    text = json.dumps(kept)
    if len(text) >= _SIZE:
        text = json.dumps({**kept, "what": "", "host": str(kept["host"])[:100], "job": str(kept["job"])[:100]})
    return text.ljust(_SIZE - 1).encode() + b"\n"


_NAMED = ("unit", "generation", "modified")


def _read(folder: Path, unit: str, generation: int) -> Claim | None:
    """A claim; one that is empty or half written says no more than that it is there. None if it has gone."""
    path = _path(folder, unit, generation)
    try:
        with open(path, "rb") as file:
            modified, text = os.fstat(file.fileno()).st_mtime, file.read(2 * _SIZE)
    except OSError:
        return None
    bare = Claim(unit, generation, modified)
    try:
        said = json.loads(text)
        return dataclasses.replace(bare, **{key: type(getattr(bare, key))(value) for key, value in said.items()})
    except (ValueError, TypeError, AttributeError):
        return bare
