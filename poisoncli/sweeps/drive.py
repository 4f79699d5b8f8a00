"""A driver starts the units of a sweep that nobody works on, until none is left; any number may share a folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from poisoncli.core.errors import Interrupted
from poisoncli.runs import stages
from poisoncli.sweeps import folder, long_table, naming
from poisoncli.sweeps.claims import Claim, Claims, Held, let_go
from poisoncli.sweeps.dask_cluster import Dask
from poisoncli.sweeps.executor import Ended, Executor, Here
from poisoncli.sweeps.folder import Folder
from poisoncli.sweeps.grid import Cell
from poisoncli.sweeps.plan import Sweep, run_path
from poisoncli.sweeps.slurm import Slurm
from poisoncli.sweeps.units import Outcome, Unit, fail, give_up, settled, units
from poisoncli.sweeps.workers import Workers

LOG = logging.getLogger(__name__)
_FIRST, _LAST, _STEP = 1.0, 15.0, 0.5  # seconds between two looks at what others do; to hear an interruption


def execute(
    sweep: Sweep,
    out: str | Path,
    *,
    data_dir: str | None = None,
    plugin_files: Sequence[str] = (),
    workers: int = 0,
    scheduler: str = "",
    slurm: Sequence[str] = (),
    gpu: bool = False,
    retry_failed: bool = False,
    fail_fast: bool = False,
    report: stages.Report = lambda done, total, what: None,
    finished: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Run and evaluate every cell into the folder `out`; a cell that fails does not stop the others.

    Finished cells are skipped and interrupted ones go on, so calling it again completes a sweep, and calling it in
    several processes, on any hosts that share the folder, divides the work. Cells that differ in their lambda alone
    are crafted together, see `batched`. A cell that failed is not tried again, unless `retry_failed`.
    workers: in how many processes, which share the cores; 0: in this one. plugin_files: Python files with methods
    that the runs name, for these. scheduler: of a Dask cluster that is to run them, by address or file. slurm:
    options of Slurm jobs that are to run them, as NAME=VALUE. gpu: each takes a GPU there.
    fail_fast: stop at the first failure; the cells that are left have no outcome.
    finished: called with each cell's outcome, as it comes. At the end all numbers are written to sweep.csv, and to
    sweep.parquet where pyarrow is at hand, see `long_table`. Raises `FailedError` where `out` cannot be written to
    or the disk is full, and `Interrupted`.
    """
    place = Path(out)
    sweep = naming.begin(sweep, place, data_dir)
    folder.hidden(place)
    if retry_failed:
        folder.forget_failures(place)
    driver = _Driver(sweep, place, fail_fast, report, finished)
    try:
        driver.look(first=True)
        if not driver.left():
            driver.drive(Here(place, data_dir, report, driver.emit))  # which has nothing to do but to tidy
        elif scheduler:
            with Dask(sweep, place, scheduler, data_dir, plugin_files, gpu, driver.progress) as executor:
                driver.drive(executor)
        elif slurm:
            options = (*slurm, "gpus_per_node=1") if gpu else slurm
            with Slurm(place, options, data_dir, plugin_files, driver.progress) as executor:
                driver.drive(executor)
        elif workers:
            with Workers(place, min(workers, driver.left()), data_dir, plugin_files, driver.progress) as executor:
                driver.drive(executor)
        else:
            driver.drive(Here(place, data_dir, report, driver.emit))
    except (KeyboardInterrupt, Interrupted):
        partials = [*place.glob("*.partial"), *place.glob(f"{folder.HIDDEN}/*/*.partial")]
        kept = "".join(f", from {path}" for path in sorted(partials))
        raise Interrupted(
            f"interrupted after {len(driver.outcomes)} of {len(sweep.cells)} runs: the same command goes on{kept}"
        ) from None
    outcomes = [driver.outcomes[cell.name] for cell in sweep.cells if cell.name in driver.outcomes]
    if any(outcome.status == "done" or not outcome.reason for outcome in outcomes):
        LOG.info("all numbers: %s", " and ".join(map(str, long_table.keep(place))))
    return outcomes


class _Driver:
    """What one driver knows of a sweep while it runs."""

    def __init__(
        self,
        sweep: Sweep,
        place: Path,
        fail_fast: bool,
        report: stages.Report,
        finished: Callable[[Outcome], None],
    ) -> None:
        self._place, self._fail_fast, self._report, self._finished = place, fail_fast, report, finished
        self._state, self._claims = Folder(sweep, place), Claims(folder.hidden(place))
        self._units = {unit.name: unit for unit in units(sweep)}
        self._left, self._running = dict(self._units), set[str]()  # left: not known to be settled
        self._pause, self._said = _FIRST, False
        self.outcomes: dict[str, Outcome] = {}

    def emit(self, outcome: Outcome) -> None:
        """Tell the outcome of a cell, once."""
        if outcome.status != "running" and outcome.cell.name not in self.outcomes:
            self.outcomes[outcome.cell.name] = outcome
            self._finished(outcome)

    def drive(self, executor: Executor) -> None:
        """Start units, until all are settled; wait for those that others work on."""
        while (self._left or self._running) and not self._stopped():
            started = self._start(executor)
            if self._running:
                ended = executor.ended(_FIRST)
                for one in ended:
                    self._end(one)
            elif not started and self._left:
                self._wait()
            self.look()
        self._tidy()

    def _stopped(self) -> bool:
        return self._fail_fast and any(one.status == "failed" for one in self.outcomes.values())

    def left(self) -> int:
        """How many units are not known to be settled."""
        return len(self._left)

    def look(self, first: bool = False) -> None:
        """Tell what was done before, at first, and what others have done since."""
        names = self._state.names()
        for unit in list(self._left.values()):
            begun = any(name in names for cell in unit.cells for name in _traces(cell))
            found = settled(unit, self._state) if begun and unit.name not in self._running else None
            if found is not None:
                del self._left[unit.name]
                for one in found:
                    others = not first and one.status == "skipped"
                    self.emit(Outcome(one.cell, "done", "by another process") if others else one)

    def _start(self, executor: Executor) -> bool:
        """Start units that nobody works on, as many as there is room for."""
        claims, started = self._claims.all(), False
        for unit in list(self._left.values()):
            if not executor.free() or self._stopped():
                break
            claim = claims.get(unit.name)
            if unit.name not in self._running and (claim is None or self._ended(unit, claim)):
                self._running.add(unit.name)
                started = True
                executor.start(unit)
        return started

    def _ended(self, unit: Unit, claim: Claim) -> bool:
        """Whether a unit may be started that was claimed; a host that has fallen silent counts as a death in it."""

        def count(held: Held) -> None:
            death = f"{claim.holder} fell silent"
            if not let_go(claim) and folder.add_deaths(self._place, unit.name, death) >= folder.DEATHS:
                fail(self._place, unit, self._state, held, f"its process died ({death})")

        return self._claims.end(claim, count) and settled(unit, self._state) is None

    def _end(self, ended: Ended) -> None:
        self._running.discard(ended.unit)
        unit = self._units[ended.unit]
        if ended.death:
            done = settled(unit, self._state) is not None
            if not done and folder.add_deaths(self._place, unit.name, ended.death) >= folder.DEATHS:
                give_up(self._place, unit, self._state, f"its process died ({ended.death})")
            return
        for outcome in ended.outcomes:
            self.emit(outcome)
        if all(outcome.status != "running" for outcome in ended.outcomes):
            self._left.pop(unit.name, None)
            self._pause = _FIRST

    def _tidy(self) -> None:
        """Remove what those left beside finished units who were killed in the moment between."""
        begun = {name.removesuffix(".died") for name in self._state.names()} | set(self._claims.all())
        for unit in self._units.values():
            found = settled(unit, self._state) if unit.name in begun else None
            if found and all(one.status == "skipped" for one in found):
                held = self._claims.take(unit.name)
                if isinstance(held, Held):
                    with held:
                        folder.remove(self._place, unit.name)
                        held.settled = True
        self._state.tidy()

    def progress(self, running: Mapping[str, tuple[int, int, str]]) -> None:
        """How far the units are that run elsewhere, as one number of thousandths of a cell."""
        parts = sum(
            len(self._units[name].cells) * done / max(total, 1) for name, (done, total, _) in running.items()
        )
        what = min((what for _, _, what in running.values()), default="starting")
        more = f" and {len(running) - 1} more" if len(running) > 1 else ""
        cells = sum(len(unit.cells) for unit in self._units.values())
        self._report(int(1000 * min(len(self.outcomes) + parts, cells)), 1000 * cells, what + more)

    def _wait(self) -> None:
        """All units that are left are claimed by others: say so, and wait a while."""
        claims = self._claims.all()
        holders = sorted({claims[name].holder for name in self._left if name in claims})
        if not holders:  # released just now
            return
        what = f"waiting for {', '.join(holders[:3])}{', ...' if len(holders) > 3 else ''}"
        left = sum(len(unit.cells) for unit in self._left.values())
        if not self._said:
            LOG.info("others craft what is left (%d): %s", left, what)
            self._said = True
        for _ in range(int(self._pause / _STEP)):
            self._report(len(self.outcomes), len(self.outcomes) + left, what)
            time.sleep(_STEP)
        self._pause = min(2 * self._pause, _LAST)


def _traces(cell: Cell) -> tuple[str, str]:
    """Names of files one of which is there when a cell is settled."""
    return run_path(cell, Path()).name, folder.failure_name(cell)
