"""Units of a sweep on the workers of a Dask cluster; files and claims make it safe, Dask only starts them."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from poisoncli.core.errors import FailedError, PoisonError
from poisoncli.sweeps import dask_client, folder
from poisoncli.sweeps.claims import Claim, Claims
from poisoncli.sweeps.executor import Ended
from poisoncli.sweeps.plan import PLAN, Sweep
from poisoncli.sweeps.units import Outcome, Unit, failure, run_unit
from poisoncli.sweeps.workers import Progress
from poisoncli.tables import atomic

RETRIES = 2  # of a task that raises; one whose worker dies starts four times (Dask's allowed failures, 3)
_POLL = 0.1
_COUNT = 1.0  # seconds between two looks at which workers there are


@dataclasses.dataclass(frozen=True)
class _Task:
    """A unit on the cluster; held: its claim, where the workers see none.

    begun: how far it was when it was submitted; claimed: how often it had been claimed until then.
    """

    unit: Unit
    future: Any
    held: contextlib.ExitStack
    begun: list[int]
    claimed: int


class Dask:
    """An executor: tasks of a Dask cluster, one a worker. See `executor.Executor`.

    address: of the scheduler, or its file. gpu: each task takes one of the resource GPU that workers announce
    (`dask worker --resources GPU=1`).
    Where the workers do not see the sweep's folder, its run files come back through the scheduler.
    """

    def __init__(
        self,
        sweep: Sweep,
        place: Path,
        address: str,
        data_dir: str | None,
        plugin_files: Sequence[str],
        gpu: bool,
        progress: Progress,
    ) -> None:
        self._progress = progress
        self._place, self._data_dir = place.absolute(), data_dir
        self._files = tuple(str(Path(path).absolute()) for path in plugin_files)
        self._plan, self._gpu = sweep.text, gpu
        self._refused: list[Ended] = []
        self._counted, self._able = -math.inf, 0
        self._tasks: dict[str, _Task] = {}
        self._client = dask_client.connect(address)
        try:
            dask_client.check_versions(self._client)
            self._shared = dask_client.shares(self._client, folder.hidden(self._place))
            from distributed import as_completed

            self._completed = as_completed(loop=self._client.loop, raise_errors=False)
        except BaseException:
            self._client.close()
            raise

    def __enter__(self) -> Dask:
        return self

    def __exit__(self, *_: object) -> None:
        """Tasks that have not begun are canceled; those that run publish what they finish."""
        for task in self._tasks.values():
            with contextlib.suppress(Exception):
                task.future.cancel()
            task.held.close()
        self._client.close()

    def free(self) -> int:
        """Workers without a task: none waits in a queue, which would be lost with the scheduler."""
        if time.monotonic() - self._counted > _COUNT:
            self._counted, self._able = time.monotonic(), self._count()
        return max(0, self._able - len(self._tasks))

    def _count(self) -> int:
        """Workers that can take a task."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        if any(worker["nthreads"] != 1 for worker in workers):
            raise PoisonError("a Dask worker has several threads: start it with `dask worker --nthreads 1`")
        return sum(not self._gpu or worker["resources"].get("GPU", 0) >= 1 for worker in workers)

    def start(self, unit: Unit) -> None:
        held = contextlib.ExitStack()
        if not self._shared:  # nobody there sees the claims here
            claim = Claims(folder.hidden(self._place)).take(unit.name)
            if isinstance(claim, Claim):
                self._refused.append(
                    Ended(unit.name, [Outcome(cell, "running", claim.holder) for cell in unit.cells])
                )
                return
            held.enter_context(claim)
        place, plan = str(self._place), "" if self._shared else self._plan
        named = f"{place}\n{self._plan}\n{unit.name}"
        future = self._client.submit(
            _run,
            *(place, plan, unit.name, self._data_dir, self._files, os.getcwd()),
            key=f"poison-{hashlib.sha256(named.encode()).hexdigest()[:16]}",
            retries=RETRIES,
            resources={"GPU": 1} if self._gpu else None,
            pure=False,
        )
        begun = folder.progress(self._place, unit.name)
        self._tasks[unit.name] = _Task(unit, future, held, begun, self._claimed(unit.name))
        self._completed.add(future)

    def _claimed(self, unit: str) -> int:
        """How often a unit that is not settled was claimed."""
        claim = Claims(folder.hidden(self._place)).all().get(unit)
        return claim.generation + 1 if claim else 0

    def ended(self, seconds: float) -> list[Ended]:
        until = time.monotonic() + seconds
        self._progress(dict.fromkeys(self._tasks, (0, 1, "on the Dask cluster")))
        if self._refused:
            found, self._refused = self._refused, []
            return found
        while not self._completed.has_ready():
            if time.monotonic() >= until:
                return []
            if self._client.status not in ("running", "connecting"):
                raise FailedError("the Dask scheduler is gone: start one, and the same command goes on")
            time.sleep(_POLL)
        futures = self._completed.next_batch(block=False)
        names = {task.future.key: name for name, task in self._tasks.items()}
        return [self._ended(names[future.key]) for future in futures if future.key in names]

    def _ended(self, name: str) -> Ended:
        task = self._tasks.pop(name)
        with task.held:
            try:
                if task.future.status != "finished":
                    return self._died(task)
                kind, content, files = task.future.result()
            finally:
                task.future.release()  # with its result: the scheduler is to forget it
            if kind == "error":
                raise content
            self._publish(task.unit, files)
            cells = {cell.name: cell for cell in task.unit.cells}
            outcomes = [Outcome(cells[cell], *rest) for cell, *rest in content]
            for one in outcomes:
                if one.status == "failed" and not self._shared:  # it was kept where the worker was
                    folder.put_failure(self._place, one.cell, failure(one.reason))
            return Ended(name, outcomes)

    def _died(self, task: _Task) -> Ended:
        """What is said of a task without a result, and how many of its workers' deaths count.

        A `KilledWorker` has ended four workers, or was on four that were ended. Those count that had claimed the
        unit, since others had not begun it, and no more than one if it got further all the same.
        """
        name = task.unit.name
        if task.future.status != "error":
            return Ended(name, death="the Dask scheduler gave the task up")
        error = task.future.exception()
        text = str(error).splitlines()[0] if str(error) else ""
        how = f"{type(error).__name__}: {text}".rstrip(": ")
        if type(error).__name__ == "KilledWorker":
            counted = self._claimed(name) - task.claimed if self._shared else folder.DEATHS
            if counted > 1 and folder.progress(self._place, name) == task.begun:
                folder.add_deaths(self._place, name, how, counted - 1)  # the driver counts the last
        return Ended(name, death=how)

    def _publish(self, unit: Unit, files: Mapping[str, tuple[bytes, str]]) -> None:
        """Give run files that came from a worker their places. Raises `FailedError` for one that is damaged."""
        own = folder.hidden(self._place) / f"{unit.name}.received"
        for name, (content, digest) in files.items():
            if hashlib.sha256(content).hexdigest() != digest or Path(name).name != name:
                raise FailedError(f"{name} was damaged on its way from a Dask worker: repeat the command")
            atomic.replace(own, content)
            folder.publish(own, self._place / name)
            own.unlink()


def _run(
    place: str, plan: str, unit: str, data_dir: str | None, plugin_files: Sequence[str], here: str
) -> tuple[str, Any, dict[str, tuple[bytes, str]]]:
    """Run a unit on a worker: in the folder `place`; or, where there is a `plan`, in one of its own.

    Returns the outcomes, a line each, or what forbids all units; with a `plan` also the run files and their hashes.
    """
    if not plan:
        if os.path.isdir(here):
            os.chdir(here)  # which paths in the plan are relative to
        kind, content = _outcomes(place, unit, data_dir, plugin_files)
        return kind, content, {}
    name = hashlib.sha256(f"{place}\n{plan}\n{unit}".encode()).hexdigest()[:16]
    own = Path(tempfile.gettempdir()) / f"poison-{os.getuid() if hasattr(os, 'getuid') else ''}-{name}"
    own.mkdir(mode=0o700, exist_ok=True)  # where the same task goes on, after its worker was killed
    if own.is_symlink() or (hasattr(os, "getuid") and own.stat().st_uid != os.getuid()):
        raise PoisonError(f"{own} belongs to another user: remove it")
    if not (own / PLAN).exists():
        atomic.replace(own / PLAN, plan.encode())
    kind, content = _outcomes(str(own), unit, data_dir, plugin_files)
    files = {path.name: path.read_bytes() for path in sorted(own.glob("*.h5"))}
    if kind == "ended" and all(status != "running" for _, status, _ in content):
        shutil.rmtree(own, ignore_errors=True)
    return kind, content, {name: (found, hashlib.sha256(found).hexdigest()) for name, found in files.items()}


def _outcomes(place: str, unit: str, data_dir: str | None, plugin_files: Sequence[str]) -> tuple[str, Any]:
    try:
        found = run_unit(place, unit, data_dir, plugin_files)
    except PoisonError as error:
        return "error", error
    return "ended", [(one.cell.name, one.status, one.reason) for one in found]
