"""A sweep is run: its cells one after another; what is finished is skipped."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

from poisoncli.core.errors import Interrupted, MissingDataError, PoisonError
from poisoncli.runs import description, replay, run_file, stages
from poisoncli.runs.description import Choice
from poisoncli.sweeps import batched, naming
from poisoncli.sweeps.grid import Cell
from poisoncli.sweeps.plan import Sweep, run_path

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a cell: `done`, `skipped` or `failed`, with the reason.

    Skipped without a reason: it was finished before; with one: its data set is not at hand.
    """

    cell: Cell
    status: str
    reason: str = ""


def execute(
    sweep: Sweep,
    out: str | Path,
    *,
    data_dir: str | None = None,
    report: stages.Report = lambda done, total, what: None,
    finished: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Run and evaluate every cell into the folder `out`; a cell that fails does not stop the others.

    Finished cells are skipped and interrupted ones go on, so calling it again completes a sweep. Cells that
    differ in their lambda alone are crafted together, see `batched`.
    finished: called with each cell's outcome, as it comes. Raises `Interrupted`.
    """
    folder = Path(out)
    sweep = naming.begin(sweep, folder, data_dir)
    outcomes: dict[int, Outcome] = {}
    try:
        for group in batched.groups([cell.run for cell in sweep.cells]):
            _craft_group([sweep.cells[number] for number in group], folder, data_dir, report)
            for number in group:
                cell = sweep.cells[number]
                label = f"{len(outcomes) + 1}/{len(sweep.cells)} {cell.name}"
                outcomes[number] = _run_cell(cell, sweep, folder, data_dir, _labeled(report, label))
                finished(outcomes[number])
    except (KeyboardInterrupt, Interrupted):
        kept = "".join(f", from {path}" for path in sorted(folder.glob("*.partial")))
        raise Interrupted(
            f"interrupted after {len(outcomes)} of {len(sweep.cells)} runs: the same command goes on{kept}"
        ) from None
    return [outcomes[number] for number in sorted(outcomes)]


def _craft_group(cells: list[Cell], folder: Path, data_dir: str | None, report: stages.Report) -> None:
    """Craft the poison of cells that share their rows; where that fails, each says so when it runs alone."""
    paths = [run_path(cell, folder) for cell in cells]
    if len(cells) == 1 or all(path.exists() for path in paths):
        return
    try:
        label = f"{' + '.join(cell.line for cell in cells)}, {cells[0].panel}".strip(", ")
        batched.attack([cell.run for cell in cells], paths, data_dir=data_dir, report=_labeled(report, label))
    except Interrupted:
        raise
    except PoisonError as error:
        LOG.info("%s are crafted one by one: %s", " + ".join(cell.name for cell in cells), error)


def _run_cell(cell: Cell, sweep: Sweep, folder: Path, data_dir: str | None, report: stages.Report) -> Outcome:
    path = run_path(cell, folder)
    try:
        finished = path.exists()
        stages.attack(
            cell.run, path, data_dir=data_dir, resume=True, report=report
        )  # refuses a file of another run
        content = run_file.read(path)
        names = description.defenses(sweep.defend, content.real)
        others = {name: run_path(cell, folder, name) for name in sweep.defenders}
        judged = all(other.exists() for other in others.values())
        if finished and judged and {"none", *names} <= set(content.evaluations):
            return Outcome(cell, "skipped")
        for name in names:
            stages.defend(path, Choice(name, sweep.options.get(name, {})), data_dir=data_dir, report=report)
        content = stages.evaluate(path, data_dir=data_dir, report=report)
        choices = [description.resolve_defense(Choice(name, sweep.options.get(name, {}))) for name in names]
        for name, other in others.items():
            if not other.exists():
                changes = {
                    ("lambda_" if key == "lambda" else key): value for key, value in sweep.defenders[name].items()
                }
                run_file.write(
                    other, replay.reevaluate(content, choices, **changes, data_dir=data_dir, report=report)
                )
    except Interrupted:
        raise
    except MissingDataError as error:
        return Outcome(cell, "skipped", str(error))
    except PoisonError as error:
        return Outcome(cell, "failed", str(error))
    return Outcome(cell, "done")


def _labeled(report: stages.Report, label: str) -> stages.Report:
    return lambda done, total, what: report(done, total, f"{label}: {what}")
