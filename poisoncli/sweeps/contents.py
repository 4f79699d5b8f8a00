"""What a sweep's folder holds, for reports: run files by panel and line, the axes of a grid among them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poisoncli.core.errors import PoisonError
from poisoncli.reports.pooled import pooled
from poisoncli.runs import run_file
from poisoncli.runs.run_file import RunFile
from poisoncli.sweeps import naming
from poisoncli.sweeps.grid import Cell
from poisoncli.sweeps.plan import Sweep, load, plan_of, run_path

_BESIDE = 4  # panels of a grid beside each other
MOST_PANELS = 60


def contents(folder: str | Path) -> tuple[Sweep, dict[str, dict[str, RunFile]]]:
    """A sweep's description, and its evaluated run files by panel and line; unfinished cells are left out.

    The last axis of a grid makes lines, the others panels; cells that differ in their seed alone are pooled.
    """
    root = Path(folder)
    sweep = naming.indexed(load(plan_of(root), crafted=True), root)
    axes = [axis for axis in (sweep.cells[0].axes if sweep.cells else {}) if axis != "seed"]
    found: dict[tuple[str, str], dict[str, list[tuple[Cell, RunFile]]]] = {}
    for defender in sweep.defenders or [""]:
        for cell in sweep.cells:
            path = run_path(cell, root, defender)
            content = run_file.read(path) if path.exists() else None
            if content and "none" in content.evaluations:
                panel = _joined(f"{cell.panel} {defender}".strip(), axes[:-1], cell.axes)
                line = _joined("" if axes and cell.line == "run" else cell.line, axes[-1:], cell.axes)
                found.setdefault((panel, cell.panel), {}).setdefault(line, []).append((cell, content))
    if len(found) > MOST_PANELS and axes:
        raise PoisonError(
            f"the grid has {len(found)} panels, and a figure at most {MOST_PANELS}: draw single runs, "
            "or take the numbers from sweep.csv"
        )
    alone = bool(sweep.picture) or "position" in sweep.layout.draw  # what is drawn from the rows of one run
    panels = {panel: _lines(lines, alone) for (panel, _), lines in found.items()}
    return _laid_out(sweep, dict(found.keys())) if axes else sweep, panels


def _joined(name: str, axes: list[str], values: Mapping[str, Any]) -> str:
    """A panel or line with its values of the grid."""
    shown = {axis: values[axis] for axis in axes}
    texts = {axis: f"{value:g}" if isinstance(value, float) else str(value) for axis, value in shown.items()}
    parts = (f"{axis.rpartition('.')[2]} = {text}" for axis, text in texts.items())
    return ", ".join(part for part in (name, *parts) if part)


def _lines(lines: Mapping[str, list[tuple[Cell, RunFile]]], alone: bool) -> dict[str, RunFile]:
    """One content for each line: its seeds pooled, or each for itself where they do not go together."""
    found: dict[str, RunFile] = {}
    for line, runs in lines.items():
        whole = pooled([content for _, content in runs]) if len(runs) == 1 or not alone else None
        if whole is not None:
            found[line] = whole
            continue
        found.update({_joined(line, ["seed"], cell.axes): content for cell, content in runs})
    return found


def _laid_out(sweep: Sweep, panels: Mapping[str, str]) -> Sweep:
    """`sweep` with a layout for the panels of its grid; panels: the plan's panel of each."""
    layout = sweep.layout
    against = {
        panel: panel.replace(of, layout.against[of], 1) for panel, of in panels.items() if of in layout.against
    }
    layout = dataclasses.replace(
        layout,
        columns=layout.columns or min(_BESIDE, len(panels)),
        selected={panel: layout.selected[of] for panel, of in panels.items() if of in layout.selected},
        against={panel: other for panel, other in against.items() if other in panels},
    )
    return dataclasses.replace(sweep, layout=layout)
