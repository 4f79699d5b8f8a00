"""A unit of a sweep: cells that are crafted together, and evaluated; any process can run one, by its name."""

from __future__ import annotations

import dataclasses
import datetime
import errno
import functools
import logging
import os
import platform
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from poisoncli.core.errors import FailedError, Interrupted, MissingDataError, PoisonError, UnwritableError
from poisoncli.runs import description, plugins, replay, run_file, stages
from poisoncli.sweeps import batched, folder, naming
from poisoncli.sweeps.claims import Claim, Claims, Held, unwritable
from poisoncli.sweeps.folder import Failure, Folder
from poisoncli.sweeps.grid import Cell
from poisoncli.sweeps.plan import PLAN, Sweep, parse, plan_of, run_path
from poisoncli.tables import atomic

LOG = logging.getLogger(__name__)
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE)


@dataclasses.dataclass(frozen=True)
class Unit:
    """Cells that are crafted together; `name` is the same in every process that reads the plan."""

    name: str
    cells: Sequence[Cell]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a cell: `done`, `skipped`, `failed` or `running`, with the reason.

    Skipped without a reason: it was finished before; with one: its data set is not at hand. Running: another
    process has claimed it, which the reason names.
    """

    cell: Cell
    status: str
    reason: str = ""


class _LostError(FailedError):
    """Another process took the unit over, since this one had been silent for long."""


def units(sweep: Sweep) -> tuple[Unit, ...]:
    """The units of a sweep, in the order of their first cells."""
    found = []
    for numbers in batched.groups([cell.run for cell in sweep.cells]):
        cells = tuple(sweep.cells[number] for number in numbers)
        more = f"+{len(cells) - 1}" if len(cells) > 1 else ""
        found.append(Unit(sweep.cells[numbers[0]].name + more, cells))
    return tuple(found)


def run_unit(
    place: str | Path,
    name: str,
    data_dir: str | None = None,
    plugin_files: Sequence[str] = (),
    *,
    report: stages.Report = lambda done, total, what: None,
    finished: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Run the unit `name` of the sweep in the folder `place`, if nobody else does; the outcome of each cell.

    Any process on any host may call it, at any time, as often as it likes: the folder tells what is to be done, a
    claim keeps others away, and a result is published once. Where it was killed, the next call goes on from the
    checkpoint. A claim that has fallen silent is freed by who watches it for a while, as drivers do: `Claims.end`.
    plugin_files: Python files with methods that the runs name. finished: called with each outcome, as it comes.
    Raises `PoisonError` if there is no such sweep or unit, `UnwritableError` and `Interrupted`.
    """
    plugins.load(plugin_files)
    root = Path(place)
    sweep, known = _read(str(root / PLAN), plan_of(root).read_text(encoding="utf-8"))
    description.known(name, known, "unit")
    sweep = naming.named(dataclasses.replace(sweep, cells=tuple(known[name].cells)), root, data_dir)
    unit, state = Unit(name, sweep.cells), Folder(sweep, root)
    outcomes = settled(unit, state)
    if outcomes is not None:
        return outcomes
    held = Claims(folder.hidden(root)).take(name)
    if isinstance(held, Claim):
        return [Outcome(cell, "running", held.holder) for cell in unit.cells]
    with held:
        try:
            outcomes = _run(unit, state, held, data_dir, report, finished)
        except Exception as error:
            if held.lost() and not isinstance(error, Interrupted):  # the files are another's now
                return [Outcome(cell, "running", "another process") for cell in unit.cells]
            raise
        held.settled = settled(unit, state) is not None
    return outcomes


def settled(unit: Unit, state: Folder) -> list[Outcome] | None:
    """The outcomes of a unit with which nothing is left to be done; None for any other."""
    outcomes = [cell_outcome(cell, state) for cell in unit.cells]
    return [one for one in outcomes if one is not None] if all(outcomes) else None


def cell_outcome(cell: Cell, state: Folder) -> Outcome | None:
    """What the folder tells of a cell with which nothing is left to be done; None for any other."""
    try:
        if state.finished(cell):
            return Outcome(cell, "skipped")
    except PoisonError as error:
        return Outcome(cell, "failed", str(error))
    found = state.failure(cell)
    return Outcome(cell, "failed", found.reason) if found else None


def give_up(place: Path, unit: Unit, state: Folder, reason: str) -> None:
    """Let the cells of a unit count as failed that are not finished, unless another process works on it."""
    held = Claims(folder.hidden(place)).take(unit.name)
    if isinstance(held, Held):
        with held:
            fail(place, unit, state, held, reason)


def fail(place: Path, unit: Unit, state: Folder, held: Held, reason: str) -> None:
    """Let the cells of a unit whose claim is held count as failed that are not finished."""
    for cell in unit.cells:
        if cell_outcome(cell, state) is None:
            folder.put_failure(place, cell, failure(reason))
    held.settled = True


@functools.lru_cache(maxsize=4)
def _read(source: str, text: str) -> tuple[Sweep, dict[str, Unit]]:
    sweep = parse(text, source)
    return sweep, {unit.name: unit for unit in units(sweep)}


def _run(
    unit: Unit,
    state: Folder,
    held: Held,
    data_dir: str | None,
    report: stages.Report,
    finished: Callable[[Outcome], None],
) -> list[Outcome]:
    """Craft and evaluate a unit that is claimed, beside the finished run files; publish each cell."""

    def told(done: int, total: int, what: str) -> None:
        held.tell(done, total, what)
        if held.overtaken:
            raise _LostError
        report(done, total, what)

    place = folder.hidden(state.folder) / unit.name
    outcomes: list[Outcome] = []
    try:
        place.mkdir(exist_ok=True)
        if settled(unit, state) is None:
            folder.adopt(state, place, unit.cells, data_dir)
            _craft_together(unit.cells, place, data_dir, told)
        for cell in unit.cells:
            outcomes.append(cell_outcome(cell, state) or _run_cell(cell, place, state, held, data_dir, told))
            finished(outcomes[-1])
    except OSError as error:
        raise unwritable(place, error) from None
    if not any(outcome.reason for outcome in outcomes):
        folder.remove(state.folder, unit.name)
    return outcomes


def _craft_together(cells: Sequence[Cell], place: Path, data_dir: str | None, report: stages.Report) -> None:
    """Craft the poison of cells that share their rows; where that fails, each says so when it runs alone."""
    paths = [run_path(cell, place) for cell in cells]
    if len(cells) == 1 or all(path.exists() for path in paths):
        return
    try:
        label = f"{' + '.join(cell.line for cell in cells)}, {cells[0].panel}".strip(", ")
        batched.attack([cell.run for cell in cells], paths, data_dir=data_dir, report=_labeled(report, label))
    except (Interrupted, UnwritableError, _LostError):
        raise
    except Exception as error:
        if _is_of_the_folder(error, place):
            raise
        LOG.info("%s are crafted one by one: %s", " + ".join(cell.name for cell in cells), _in_words(error))


def _run_cell(
    cell: Cell, place: Path, state: Folder, held: Held, data_dir: str | None, report: stages.Report
) -> Outcome:
    """Finish a cell of a unit, and publish it; where it fails, keep why."""
    try:
        _finish(cell, place, state, data_dir, _labeled(report, cell.name))
    except (Interrupted, UnwritableError, _LostError):
        raise
    except MissingDataError as error:
        return Outcome(cell, "skipped", str(error))
    except Exception as error:
        if held.lost() or _is_of_the_folder(error, state.folder):
            raise
        found = failure(_in_words(error), "" if isinstance(error, PoisonError) else traceback.format_exc())
        folder.put_failure(state.folder, cell, found)
        return Outcome(cell, "failed", found.reason)
    return Outcome(cell, "done")


def _finish(cell: Cell, place: Path, state: Folder, data_dir: str | None, report: stages.Report) -> None:
    """Craft a cell, unless that is done, evaluate it behind every defense, publish what came of it."""
    sweep, path = state.sweep, run_path(cell, place)
    stages.attack(cell.run, path, data_dir=data_dir, resume=True, report=report)
    names = description.defenses(sweep.defend, run_file.outline(path).real)
    for name in names:
        stages.defend(path, sweep.defense(name), data_dir=data_dir, report=report)
    content = stages.evaluate(path, data_dir=data_dir, report=report)
    if not state.complete(path):
        raise UnwritableError(f"the evaluation cannot be written to {path}: free some space there, and repeat")
    choices = [sweep.defense(name) for name in names]
    for name, changes in sweep.defenders.items():
        other = run_path(cell, place, name)
        if not other.exists():
            given = {("lambda_" if key == "lambda" else key): value for key, value in changes.items()}
            run_file.write(other, replay.reevaluate(content, choices, **given, data_dir=data_dir, report=report))
        folder.publish(other, run_path(cell, state.folder, name))
    final = run_path(cell, state.folder)  # last: where it is complete, the others are there
    if not folder.publish(path, final) and not state.complete(final):  # an older version left it unfinished
        atomic.replace(final, path.read_bytes())


def _is_of_the_folder(error: Exception, place: Path) -> bool:
    """Whether the disk, the folder of the sweep, or who listens is at fault, and not a run."""
    if not isinstance(error, OSError):
        return False
    named = str(error.filename or "").startswith(str(place))
    return named or isinstance(error, ConnectionError) or error.errno in _DISK


def failure(reason: str, trace: str = "") -> Failure:
    """That a cell failed just now, as this process found."""
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Failure(reason, f"process {os.getpid()} on {platform.node()}", when, trace)


def _in_words(error: Exception) -> str:
    """Why a run failed, in a sentence."""
    if isinstance(error, PoisonError):
        return str(error)
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):  # as XLA calls it
        return "there is not enough memory: take fewer rows, columns or repetitions"
    said = str(error).splitlines()[0] if str(error) else "no reason given"
    return f"failed unexpectedly ({type(error).__name__}: {said})"


def _labeled(report: stages.Report, label: str) -> stages.Report:
    return lambda done, total, what: report(done, total, f"{label}: {what}")
