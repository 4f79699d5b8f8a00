"""How far a sweep is: what is done, running and where, failed and why, waiting; read from its folder alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from poisoncli.sweeps import claims, naming
from poisoncli.sweeps.claims import Claim, Claims
from poisoncli.sweeps.folder import HIDDEN, Folder
from poisoncli.sweeps.plan import load, plan_of, run_path
from poisoncli.sweeps.units import Unit, cell_outcome, units

STATUSES = ("done", "running", "failed", "waiting")


@dataclasses.dataclass(frozen=True)
class Status:
    """Of one cell: its name and run file, one of `STATUSES`, and why it failed or waits.

    While it runs: host, process and job that run it, since when (UTC, by that host's clock), what is being done,
    the share of that, and the seconds since the last sign of life; cells that are crafted together share these.
    """

    cell: str
    file: str
    status: str
    reason: str = ""
    host: str = ""
    process: int = 0
    job: str = ""
    since: str = ""
    what: str = ""
    share: float | None = None
    silent: float | None = None

    def __str__(self) -> str:
        if self.status != "running":
            return f"{self.status}: {self.reason}" if self.reason else self.status
        job = f" ({self.job})" if self.job else ""
        share = f", {self.share:.0%} of {self.what}" if self.share is not None else ""
        return f"running: process {self.process} on {self.host}{job} since {self.since}{share}"


def of_folder(folder: str | Path) -> list[Status]:
    """Every cell of the sweep in `folder`, in the order of its plan. Raises `PoisonError` if there is none."""
    sweep = naming.indexed(load(plan_of(folder), crafted=True), Path(folder))
    state, watched = Folder(sweep, Path(folder)), Claims(Path(folder) / HIDDEN)
    claimed = watched.all()
    found = {one.cell: one for unit in units(sweep) for one in _of_unit(unit, state, watched, claimed)}
    return [found[cell.name] for cell in sweep.cells]


def counts(statuses: Sequence[Status]) -> dict[str, int]:
    """How many cells have each of `STATUSES`."""
    return {status: sum(one.status == status for one in statuses) for status in STATUSES}


def _of_unit(unit: Unit, state: Folder, watched: Claims, claimed: Mapping[str, Claim]) -> list[Status]:
    found = []
    for cell in unit.cells:
        outcome, file = cell_outcome(cell, state), str(run_path(cell, state.folder))
        if outcome is None:
            found.append(Status(cell.name, file, *_unfinished(watched, claimed.get(unit.name))))
        else:
            done = outcome.status == "skipped"
            found.append(Status(cell.name, file, "done" if done else outcome.status, outcome.reason))
    return found


def _unfinished(watched: Claims, claim: Claim | None) -> tuple[Any, ...]:
    """What is told of a cell that is neither done nor failed, from its status on."""
    if claim is None:
        return ("waiting",)
    silent = watched.age(claim)
    said = {
        "released": "was interrupted; whoever comes next goes on from there",
        "gone": "has died; whoever comes next goes on from its checkpoint",
        "silent": f"has shown no sign of life for {silent / 60:.0f} minutes; another may take over",
    }
    if why := claims.let_go(claim) or ("silent" if watched.silent(claim) else ""):
        return "waiting", f"{claim.holder} {said[why]}"
    share = claim.done / claim.total if claim.total else None
    own = (claim.host, claim.process, claim.job, claim.since, claim.what, share, round(max(silent, 0.0), 1))
    return "running", "", *own
