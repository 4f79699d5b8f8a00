"""Units of a sweep as jobs of Slurm, by submitit: arrays that requeue themselves at the time limit."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from poisoncli.core.errors import PoisonError
from poisoncli.sweeps import folder
from poisoncli.sweeps.executor import Ended
from poisoncli.sweeps.units import Outcome, Unit, run_unit
from poisoncli.sweeps.workers import Progress
from poisoncli.training.cores import usable_cores

LOGS = "slurm"  # where submitit keeps jobs and their logs, in the hidden folder
MOST_JOBS = 1000  # of an array, as Slurm usually allows
_TIMEOUTS = 10_000  # times that a job may reach its time limit and be requeued: each goes on from a checkpoint
_POLL = 0.5  # seconds
_GRACE = 5  # seconds between SIGTERM and the end of a job: Slurm waits 30 before it kills
_USUAL = {"timeout_min": 60.0, "name": "poison"}
_NUMBERS = {
    "timeout_min": float,
    "mem_gb": float,
    "cpus_per_task": int,
    "gpus_per_node": int,
    "signal_delay_s": int,
}
_SHARED = ("name", "timeout_min", "mem_gb", "cpus_per_task", "gpus_per_node")  # the others are Slurm's own


class Task:
    """What a job does; `checkpoint` is what submitit calls shortly before the time limit."""

    def __init__(self, place: str, unit: str, data_dir: str | None, plugin_files: Sequence[str]) -> None:
        self._arguments = place, unit, data_dir, tuple(plugin_files)

    def __call__(self) -> tuple[str, Any]:
        """The outcomes of a unit, a line each; or what forbids all units."""
        _hear_cancellation()
        try:
            found = run_unit(*self._arguments)
        except PoisonError as error:
            return "error", error
        finally:
            signal.alarm(0)
        return "ended", [(one.cell.name, one.status, one.reason) for one in found]

    def checkpoint(self, *_: Any) -> Any:
        """The same job once more: it goes on from the attack's checkpoint, which lies in the folder."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class Slurm:
    """An executor: jobs of Slurm, or with `cluster=local` processes of this machine under the same time limits.

    options: what `sbatch` is told, such as `partition`, `timeout_min`, `mem_gb`, `gpus_per_node`. See
    `executor.Executor`. The jobs outlive this process: what they finish lies in the folder.
    """

    def __init__(
        self,
        place: Path,
        options: Sequence[str],
        data_dir: str | None,
        plugin_files: Sequence[str],
        progress: Progress,
    ) -> None:
        self._progress = progress
        self._task = str(place.absolute()), data_dir, tuple(str(Path(path).absolute()) for path in plugin_files)
        given = _options(options)
        self._local = given.pop("cluster", "slurm") == "local"
        self._executor = _submitter(folder.hidden(place) / LOGS, given, self._local)
        self._waiting: list[Unit] = []
        self._jobs: dict[str, tuple[Unit, Any]] = {}

    def __enter__(self) -> Slurm:
        return self

    def __exit__(self, *_: object) -> None:
        """Jobs that have not ended are canceled: they keep their checkpoints and release their claims."""
        for _unit, job in self._jobs.values():
            with contextlib.suppress(Exception):
                job.cancel(check=False)

    def free(self) -> int:
        most = usable_cores() if self._local else MOST_JOBS
        return max(0, most - len(self._jobs) - len(self._waiting))

    def start(self, unit: Unit) -> None:
        """Units that are started together become one array, as soon as the executor is asked what has ended."""
        self._waiting.append(unit)

    def ended(self, seconds: float) -> list[Ended]:
        self._submit()
        until = time.monotonic() + seconds
        self._progress(dict.fromkeys(self._jobs, (0, 1, "jobs of Slurm")))
        while True:
            found = [one for name in list(self._jobs) for one in self._ended(name)]
            if found or time.monotonic() >= until:
                return found
            time.sleep(_POLL)

    def _submit(self) -> None:
        if not self._waiting:
            return
        place, data_dir, files = self._task
        units, self._waiting = self._waiting, []
        try:
            with self._executor.batch():
                jobs = [self._executor.submit(Task(place, unit.name, data_dir, files)) for unit in units]
        except Exception as error:
            raise PoisonError(f"Slurm does not take the jobs ({_line(error)}): mend --slurm") from None
        self._jobs.update({unit.name: (unit, job) for unit, job in zip(units, jobs, strict=True)})

    def _ended(self, name: str) -> list[Ended]:
        unit, job = self._jobs[name]
        if not job.done():
            return []
        del self._jobs[name]
        try:
            kind, content = job.result()
        except Exception as error:
            return [Ended(name, death=f"job {job.job_id}: {_line(error)}")]
        if kind == "error":
            raise content
        cells = {cell.name: cell for cell in unit.cells}
        return [Ended(name, [Outcome(cells[cell], *rest) for cell, *rest in content])]


def _hear_cancellation() -> None:
    """From now on a job that is canceled keeps its checkpoint, and lets its claim go.

    Slurm says so by SIGTERM, which jobs of submitit ignore: where they are preempted another signal follows, that
    requeues them. It is waited for.
    """

    def stop(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    signal.signal(signal.SIGALRM, stop)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_GRACE))


def _submitter(logs: Path, given: dict[str, Any], local: bool) -> Any:
    """What takes jobs. Raises `PoisonError` where submitit or Slurm is not there, or an option is unknown."""
    try:
        import submitit
    except ImportError:
        raise PoisonError("--slurm needs submitit: pip install 'poisoncli[slurm]'") from None
    try:
        if local:
            executor: Any = submitit.LocalExecutor(logs, max_num_timeout=_TIMEOUTS)
            executor.update_parameters(**given)
        else:
            executor = submitit.AutoExecutor(logs, cluster="slurm", slurm_max_num_timeout=_TIMEOUTS)
            known = {"timeout_min": int(max(1, given.pop("timeout_min")))}
            own = {name if name in _SHARED else f"slurm_{name}": value for name, value in given.items()}
            executor.update_parameters(**known, **own)
    except Exception as error:
        raise PoisonError(f"--slurm: {_line(error)}") from None
    return executor


def _options(texts: Sequence[str]) -> dict[str, Any]:
    """The options of `--slurm NAME=VALUE,...`. Raises `PoisonError` for anything else."""
    found: dict[str, Any] = dict(_USUAL)
    for text in filter(None, (part.strip() for given in texts for part in given.split(","))):
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name or not value:
            raise PoisonError(f"--slurm {text} sets nothing: write --slurm partition=gpu,timeout_min=60")
        try:
            found[name] = _NUMBERS.get(name, str)(value)
        except ValueError:
            raise PoisonError(f"--slurm {text} is no number: write --slurm {name}=60") from None
    return found


def _line(error: BaseException) -> str:
    """The last line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
