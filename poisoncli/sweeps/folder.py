"""The folder of a sweep: its plan, finished run files, and beside them what is in progress or has failed.

    DIR/sweep.toml            the plan
    DIR/CELL.h5               a finished run file: crafted, and evaluated behind every defense; never changed again
    DIR/.sweep/UNIT.N.claim   who works on a unit, see `claims`
    DIR/.sweep/UNIT/          its run files and checkpoints, until they are finished
    DIR/.sweep/UNIT.died      how processes ended that worked on it, a line each, and how far it was then
    DIR/.sweep/CELL.failed    why a cell failed

Older versions kept unfinished run files and checkpoints among the finished ones: they are moved when their unit is
taken up.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import glob
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from poisoncli.core.errors import PoisonError
from poisoncli.runs import description, plugins, run_file, serialize, targets
from poisoncli.runs.prepare import prepare
from poisoncli.runs.run_file import RunFile
from poisoncli.sweeps import naming
from poisoncli.sweeps.claims import unwritable
from poisoncli.sweeps.grid import Cell
from poisoncli.sweeps.plan import Sweep, run_path
from poisoncli.tables import atomic

HIDDEN = ".sweep"
DEATHS = 3  # processes that a unit may end, one after another and without getting further, before it is given up
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.EXDEV)


def hidden(folder: Path) -> Path:
    """Where claims, failures and what is in progress are kept; made if need be."""
    place = folder / HIDDEN
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(place, error) from None
    return place


def publish(finished: Path, final: Path) -> bool:
    """Give a finished file its final name as well, unless one has that: then False, and it stays as it is.

    A hard link, which never replaces a file; over a network one may be made and yet be told to have failed, where
    the answer was lost. On a file system without them a copy is renamed into place after a look: a file is whole
    there too, but of two processes that publish in the same moment the second wins. Only the holder of a claim and
    one that lost it unaware can meet there, and both have the same content.
    """
    try:
        os.link(finished, final)
    except OSError as error:
        with contextlib.suppress(OSError):
            if os.path.samefile(finished, final):
                return True
        if isinstance(error, FileExistsError):
            return False
        if error.errno not in _NO_LINKS:
            raise unwritable(final, error) from None
        if final.exists():
            return False
        atomic.replace(final, finished.read_bytes())
    return True


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a cell failed: in a sentence, who found it, when (UTC), and where in the code."""

    reason: str
    holder: str = ""
    when: str = ""
    traceback: str = ""


def failure_name(cell: Cell) -> str:
    """The file that tells why a cell failed; of a cell with other options or data it is another."""
    return f"{cell.file or cell.name}.failed"


def put_failure(folder: Path, cell: Cell, failure: Failure) -> None:
    """Keep why a cell failed, so that nobody tries it again unasked."""
    text = json.dumps(dataclasses.asdict(failure), indent=1)
    atomic.replace(hidden(folder) / failure_name(cell), text.encode())


def forget_failures(folder: Path) -> None:
    """Let failed cells be tried again."""
    for pattern in ("*.failed", "*.died"):
        for path in (folder / HIDDEN).glob(pattern):
            path.unlink(missing_ok=True)


def add_deaths(folder: Path, unit: str, how: str, count: int = 1) -> int:
    """Keep how processes ended that worked on a unit; returns how many did since it last got further.

    Who is killed from outside may be so again and again, as on machines that are lent for a while; a unit that ends
    its process itself does so at one place.
    """
    path = hidden(folder) / f"{unit}.died"
    line = json.dumps({"how": how, "progress": progress(folder, unit)}) + "\n"
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(line * count)
    except OSError as error:
        raise unwritable(path, error) from None
    lines = path.read_text(encoding="utf-8").splitlines()
    places = [json.loads(one).get("progress") if one.startswith("{") else None for one in lines]
    return next((number for number, place in enumerate(reversed(places)) if place != places[-1]), len(places))


def progress(folder: Path, unit: str) -> list[int]:
    """How far a unit is, by what it leaves if it is killed: weights and scores, crafted files, steps."""
    judged = crafted = steps = 0
    for path in (folder / HIDDEN / unit).glob("*"):
        with contextlib.suppress(PoisonError):
            if path.suffix == ".partial":
                steps += run_file.read(path, unfinished=True).poison.done
            elif path.suffix == ".h5":
                found = run_file.outline(path)
                judged, crafted = judged + len(found.defenses) + len(found.evaluations), crafted + 1
    return [judged, crafted, steps]


class Folder:
    """What a sweep's folder holds, looked at again and again; what was found finished is not read twice."""

    def __init__(self, sweep: Sweep, folder: Path) -> None:
        self.sweep, self.folder = sweep, folder
        self._finished: set[str] = set()

    def finished(self, cell: Cell) -> bool:
        """Whether all files of a cell are there, and complete. Raises `PoisonError` if one is damaged."""
        if cell.name in self._finished:
            return True
        path = run_path(cell, self.folder)
        if not path.exists() or not self.complete(path):
            return False
        if not all(run_path(cell, self.folder, name).exists() for name in self.sweep.defenders):
            return False
        self._finished.add(cell.name)
        return True

    def complete(self, path: Path) -> bool:
        """Whether a run file has all evaluations of the sweep. Raises `PoisonError` if it is damaged."""
        found = run_file.outline(path)
        wanted = {"none", *description.defenses(self.sweep.defend, found.real)}
        return wanted <= found.evaluations and naming.fits(found, self.sweep)

    def names(self) -> set[str]:
        """Names of all files, in the folder and beside it."""
        found: set[str] = set()
        for place in (self.folder, self.folder / HIDDEN):
            with contextlib.suppress(FileNotFoundError):
                found.update(os.listdir(place))
        return found

    def failure(self, cell: Cell) -> Failure | None:
        """Why a cell failed, if it did."""
        try:
            return Failure(**json.loads((self.folder / HIDDEN / failure_name(cell)).read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError):
            return Failure("its record of failure cannot be read")

    def tidy(self) -> None:
        """Remove the hidden folder if there is nothing in it."""
        with contextlib.suppress(OSError):
            (self.folder / HIDDEN).rmdir()


def adopt(state: Folder, place: Path, cells: Iterable[Cell], data_dir: str | None) -> None:
    """Take to where a unit is crafted what there is of its `cells`: finished files, poison that was judged by other
    defenses, and what an older version left."""
    folder = state.folder
    for cell in cells:
        final = run_path(cell, folder)
        if final.exists():
            publish(final, place / final.name)
        elif not (place / final.name).exists() and (other := naming.crafted(cell, folder, data_dir)):
            run_file.write(place / final.name, _judged_anew(run_file.read(other), state.sweep))
        for partial in folder.glob(f"{glob.escape(cell.name)}.h5.*partial"):
            if ".together." in partial.name or _is_of(partial, cell, data_dir):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(partial, place / (final.name + partial.name.removeprefix(f"{cell.name}.h5")))


def _judged_anew(content: RunFile, sweep: Sweep) -> RunFile:
    """`content` with what a cell of `sweep` would have: its poison, and what the same defenses made of it."""
    names = description.defenses(sweep.defend, content.real)
    kept = {
        name: defended
        for name, defended in content.defenses.items()
        if name in names
        and plugins.code("defense", name) is None
        and serialize.choice_from_json(defended.choice) == sweep.defense(name)
    }
    scores = {name: score for name, score in content.evaluations.items() if name in ("none", *kept)}
    return dataclasses.replace(content, defenses=kept, evaluations=scores, victims=())


def _is_of(partial: Path, cell: Cell, data_dir: str | None) -> bool:
    """Whether a checkpoint is of a cell's run: the folder may have held another sweep before."""
    try:
        found, _ = run_file.header(partial)
        run = prepare(targets.read_rows(cell.run), data_dir).run
        return serialize.same(found, serialize.to_json(run))
    except PoisonError:
        return False


def remove(folder: Path, unit: str) -> None:
    """Remove what was in progress of a unit that is done."""
    shutil.rmtree(folder / HIDDEN / unit, ignore_errors=True)
    (folder / HIDDEN / f"{unit}.died").unlink(missing_ok=True)
