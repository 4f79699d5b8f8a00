"""What runs the units of a sweep: an executor only starts `run_unit` somewhere; files and claims do the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from poisoncli.runs import stages
from poisoncli.sweeps.units import Outcome, Unit, run_unit


@dataclasses.dataclass(frozen=True)
class Ended:
    """A unit that an executor has let go: the outcomes of its cells; or none, and how its process died."""

    unit: str
    outcomes: Sequence[Outcome] = ()
    death: str = ""


class Executor(Protocol):
    """Starts `run_unit` somewhere, and tells when it has ended."""

    def free(self) -> int:
        """How many more units it takes now."""
        ...

    def start(self, unit: Unit) -> None:
        """Run a unit."""
        ...

    def ended(self, seconds: float) -> list[Ended]:
        """Units that have ended since the last call; it waits for one at most so many seconds.

        Raises `PoisonError` where units cannot be run at all, such as on a full disk.
        """
        ...


class Here:
    """Runs units in this process, one at a time."""

    def __init__(
        self, place: Path, data_dir: str | None, report: stages.Report, finished: Callable[[Outcome], None]
    ) -> None:
        self._place, self._data_dir, self._report, self._finished = place, data_dir, report, finished
        self._ended: list[Ended] = []

    def free(self) -> int:
        return 0 if self._ended else 1

    def start(self, unit: Unit) -> None:
        outcomes = run_unit(self._place, unit.name, self._data_dir, report=self._report, finished=self._finished)
        self._ended.append(Ended(unit.name, outcomes))

    def ended(self, seconds: float) -> list[Ended]:
        found, self._ended = self._ended, []
        return found
