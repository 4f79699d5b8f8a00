"""Units of a sweep in several processes of this machine, which share its cores; one that dies is replaced."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import logging
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import connection
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from poisoncli.core.errors import FailedError, Interrupted, PoisonError
from poisoncli.sweeps import folder
from poisoncli.sweeps.executor import Ended
from poisoncli.sweeps.units import Outcome, Unit, run_unit
from poisoncli.training.cores import usable_cores

Progress = Callable[[Mapping[str, tuple[int, int, str]]], None]  # done, total and what, of each unit that runs
PATIENCE = 20.0  # seconds that a worker has to end in, when it is asked to
_TELL = 0.2  # seconds between two reports of a worker
_NOTHING = (0, 1, "starting")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclasses.dataclass(frozen=True)
class Share:
    """What a worker gets of the machine: cores, none if they cannot be told apart; and environment variables."""

    cores: tuple[int, ...]
    environment: Mapping[str, str]


def shares(count: int) -> list[Share]:
    """The cores that this process may use, divided among `count` workers, and a GPU for each where there are any.

    Workers that share a GPU divide its memory.
    """
    usable = usable_cores()
    own = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    cores = own if len(own) == usable else []  # a container may allow fewer than it shows
    gpus = _gpus()
    found = []
    for number in range(count):
        first, last = (usable * part // count for part in (number, number + 1))
        places = range(first, last) if last > first else [number % usable]
        environment = {name: os.environ.get(name, str(len(places))) for name in _THREADS}
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
            if count > len(gpus):
                part = 0.75 / math.ceil(count / len(gpus))  # of what JAX takes alone
                environment["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{part:.2f}"
        found.append(Share(tuple(cores[place] for place in places) if cores else (), environment))
    return found


def _gpus() -> list[str]:
    """Names of the GPUs that this process may use, as CUDA knows them."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [name for name in told.split(",") if name.strip()]
    return [str(number) for number in range(len(glob.glob("/dev/nvidia[0-9]*")))]


class Workers:
    """An executor: spawned processes, each of which runs one unit at a time. See `executor.Executor`."""

    def __init__(
        self, place: Path, count: int, data_dir: str | None, plugin_files: Sequence[str], progress: Progress
    ) -> None:
        self._task = (str(place), data_dir, tuple(plugin_files))
        self._progress, self._shares = progress, shares(count)
        self._workers: list[_Worker] = []
        self._unbegun = 0  # workers that ended before they began, one after another

    def __enter__(self) -> Workers:
        try:
            for share in self._shares:
                self._workers.append(_Worker(share, self._task))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        """End all: they keep their checkpoints and release their claims; a second interruption does not wait."""
        try:
            for worker in self._workers:
                worker.process.terminate()
            until = time.monotonic() + PATIENCE
            for worker in self._workers:
                worker.process.join(max(0.0, until - time.monotonic()))
        finally:
            for worker in self._workers:
                worker.process.kill()
                worker.process.join()
                worker.pipe.close()

    def free(self) -> int:
        return sum(worker.unit is None for worker in self._workers)

    def start(self, unit: Unit) -> None:
        next(worker for worker in self._workers if worker.unit is None).start(unit)

    def ended(self, seconds: float) -> list[Ended]:
        pipes: Any = {worker.pipe: number for number, worker in enumerate(self._workers)}
        found = []
        for pipe in connection.wait(list(pipes), seconds):
            worker = self._workers[pipes[pipe]]
            found += worker.heard()
            if worker.gone:
                found += self._buried(worker)
                self._workers[pipes[pipe]] = _Worker(worker.share, self._task)
        self._progress({worker.unit.name: worker.progress for worker in self._workers if worker.unit})
        return found

    def _buried(self, worker: _Worker) -> list[Ended]:
        """The unit in which a worker has died; it is not at fault where the worker had not begun.

        Raises `FailedError` where workers never begin.
        """
        how = worker.ended()
        self._unbegun = 0 if worker.began else self._unbegun + 1
        if self._unbegun and (not how.startswith("signal") or self._unbegun >= folder.DEATHS):
            raise FailedError(
                f"a worker process ended before it began ({how}): call poisoncli.sweep in a script only below "
                "`if __name__ == '__main__':`, or leave out --workers"
            )
        if worker.unit is None:
            return []
        if not worker.began:
            return [Ended(worker.unit.name, [Outcome(cell, "running", how) for cell in worker.unit.cells])]
        return [Ended(worker.unit.name, death=how)]


class _Worker:
    """One process, as its parent sees it."""

    def __init__(self, share: Share, task: tuple[str, str | None, tuple[str, ...]]) -> None:
        self.share, self.unit, self.progress = share, None, _NOTHING
        self.gone = self.began = False
        context = multiprocessing.get_context("spawn")  # a fork would copy the locks of JAX's threads
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, share.cores, *task), daemon=True)
        with _environment(share.environment), _interruptions_held():
            self.process.start()
        other.close()

    unit: Unit | None

    def start(self, unit: Unit) -> None:
        """Let it run a unit; where it has just died, `heard` will tell."""
        self.unit, self.progress = unit, _NOTHING
        with contextlib.suppress(OSError):
            self.pipe.send(unit.name)

    def heard(self) -> list[Ended]:
        """The unit that it has ended, if it has. Raises the error that it met, if it is not one of a single run."""
        found = []
        try:
            while self.pipe.poll():
                kind, content = self.pipe.recv()
                self.began = True
                if kind == "progress":
                    self.progress = content
                elif kind == "remark":
                    logging.getLogger(content[0]).log(content[1], "%s", content[2])
                elif kind == "warning":
                    warnings.warn(content, stacklevel=2)
                elif kind == "error":
                    raise content
                elif self.unit is not None:
                    cells = {cell.name: cell for cell in self.unit.cells}
                    found.append(Ended(self.unit.name, [Outcome(cells[name], *rest) for name, *rest in content]))
                    self.unit = None
        except (EOFError, OSError):
            self.gone = True
        return found

    def ended(self) -> str:
        """How the process has ended, which it has by then."""
        self.process.join(PATIENCE)
        self.process.kill()  # one that has closed its pipe and goes on
        self.process.join()
        self.pipe.close()
        code = self.process.exitcode or 0
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        return how + (", out of memory?" if how == "signal 9" else "")


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Within it, processes start with these environment variables: some libraries read them when imported."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _interruptions_held() -> Iterator[None]:
    """Within it, processes start deaf to Ctrl-C, which a terminal sends to all: their parent ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Any, cores: Sequence[int], place: str, data_dir: str | None, plugin_files: Sequence[str]) -> None:
    """The life of a worker: units come by name through `pipe`, outcomes and remarks go back."""
    stopping = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.append(number)
        raise KeyboardInterrupt

    def report(done: int, total: int, what: str) -> None:
        nonlocal told
        if stopping:  # also where a library has swallowed it
            raise KeyboardInterrupt
        if time.monotonic() - told > _TELL:
            told = time.monotonic()
            pipe.send(("progress", (done, total, what)))

    told = 0.0
    try:
        signal.signal(signal.SIGTERM, stop)
        sys.unraisablehook = _again
        if cores:
            os.sched_setaffinity(0, cores)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        _send_remarks(pipe)
        pipe.send(("remark", ("poisoncli", logging.DEBUG, "begun")))
        while True:
            try:
                found = run_unit(place, pipe.recv(), data_dir, plugin_files, report=report)
            except Interrupted:
                raise
            except PoisonError as error:
                pipe.send(("error", error))
            else:
                pipe.send(("ended", [(one.cell.name, one.status, one.reason) for one in found]))
    except (KeyboardInterrupt, Interrupted, EOFError, BrokenPipeError):
        os._exit(128 + signal.SIGTERM)  # nothing is to be said: the parent knows, or is gone


def _again(unraisable: Any) -> None:
    """Where a library's callback swallows the interruption, it comes once more."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        threading.Timer(_TELL, os.kill, (os.getpid(), signal.SIGTERM)).start()
    else:
        sys.__unraisablehook__(unraisable)


def _end_with_parent() -> None:
    """Where the parent is killed, its workers keep their checkpoints and end."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE)
        os._exit(128 + signal.SIGTERM)


def _send_remarks(pipe: Any) -> None:
    """What the package says to people, the parent says, once for all workers."""

    class Sender(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with contextlib.suppress(OSError):
                pipe.send(("remark", (record.name, record.levelno, record.getMessage())))

    def warned(message: Warning | str, *_: Any, **__: Any) -> None:
        with contextlib.suppress(OSError):
            pipe.send(("warning", str(message)))

    logger = logging.getLogger("poisoncli")
    logger.addHandler(Sender())
    logger.setLevel(logging.INFO)
    warnings.showwarning = warned
