"""What a sweep's folder holds, for reports."""

from __future__ import annotations

from pathlib import Path

from poisoncli.core.errors import PoisonError
from poisoncli.runs import run_file
from poisoncli.sweeps import naming
from poisoncli.sweeps.plan import PLAN, Sweep, load, run_path


def contents(folder: str | Path) -> tuple[Sweep, dict[str, dict[str, run_file.RunFile]]]:
    """A sweep's description, and its evaluated run files by panel and line; unfinished cells are left out."""
    plan = Path(folder) / PLAN
    if not plan.is_file():
        raise PoisonError(f"{folder} holds no sweep: fill it with `poison sweep --preset NAME --out {folder}`")
    sweep = naming.indexed(load(plan, crafted=True), Path(folder))
    found: dict[str, dict[str, run_file.RunFile]] = {}
    for defender in sweep.defenders or [""]:
        for cell in sweep.cells:
            path = run_path(cell, Path(folder), defender)
            content = run_file.read(path) if path.exists() else None
            if content and "none" in content.evaluations:
                found.setdefault(f"{cell.panel} {defender}".strip(), {})[cell.line] = content
    return sweep, found
