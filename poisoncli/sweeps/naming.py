"""What the run file of a cell is called: a label for people, and a hash of all that its result depends on."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import os
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from poisoncli.core.declared import NOTHING
from poisoncli.core.errors import MissingDataError, PoisonError
from poisoncli.runs import description, plugins, run_file, serialize, targets
from poisoncli.runs.description import Run
from poisoncli.runs.prepare import prepare
from poisoncli.runs.run_file import Outline
from poisoncli.sweeps.claims import unwritable
from poisoncli.sweeps.grid import Cell
from poisoncli.sweeps.plan import PLAN, Sweep, parse
from poisoncli.tables.lock import writing
from poisoncli.tables.text import read_text

INDEX = "cells.csv"  # which file each cell of a folder has
_LETTERS = 8  # of the hash in a file's name
_FILES = ("path", "val", "test")  # options that name files


def begin(sweep: Sweep, folder: Path, data_dir: str | None = None) -> Sweep:
    """`sweep` with the names of its cells' files, in a folder that tells from now on what it holds.

    Where the folder held another sweep, its plan is kept under another name, which is warned of, and so are its run
    files: those that the new one has too count as finished.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from None
    plan = folder / PLAN
    with writing(plan):
        new = sweep.text.encode()
        old = plan.read_bytes() if plan.exists() else new
        if old != new and not _is_same(plan, sweep):
            other = next(path for n in itertools.count(1) if not (path := folder / f"sweep.{n}.toml").exists())
            run_file.replace(other, old)
            warnings.warn(
                f"{folder} held another sweep: its description is kept in {other.name}, and its run files stay",
                stacklevel=2,
            )
        if old != new or not plan.exists():
            run_file.replace(plan, new)
        sweep = named(sweep, folder, data_dir)
        keep_index(sweep, folder)
    return sweep


def _is_same(plan: Path, sweep: Sweep) -> bool:
    """Whether a plan describes the same sweep in other words."""
    try:
        return dataclasses.replace(parse(read_text(plan), sweep.title), text=sweep.text) == sweep
    except (PoisonError, UnicodeDecodeError):
        return False


def named(sweep: Sweep, folder: Path, data_dir: str | None = None) -> Sweep:
    """`sweep` with the names of its cells' files: LABEL.HASH, or that of a file which holds the run already.

    The hash is of the resolved run, the data, the defenses with their options, what differs in the defenders, and
    the schema, so that a cell in which any of these has changed has another file. What an older version called
    otherwise is taken if it holds the same run on the same data, and no defense with other options. A cell whose
    data are not at hand keeps its label alone.
    """
    there = _stems(folder)
    judged = _judged(sweep)
    own_code = _of_code(("defense", name) for name in sweep.defend)
    cells = []
    for cell in sweep.cells:
        try:
            run = targets.read_rows(cell.run)
            data, more = _of_data(run, data_dir), _of_files(run) + own_code
        except MissingDataError:
            cells.append(cell)
            continue
        except PoisonError:  # the cell itself says what is wrong, once it is run
            run, data, more = cell.run, "", ""
        wanted = f"{cell.name}.{identity(run, data + more, judged)}"
        if wanted not in there and not sweep.defenders:  # of whom older names tell nothing
            older = (stem for stem in there if stem == cell.name or (_label(stem) == cell.name and not more))
            paths = {stem: folder / f"{stem}.h5" for stem in older}
            same = (stem for stem, path in paths.items() if _holds(path, run, data, data_dir))
            wanted = next((stem for stem in same if fits(run_file.outline(paths[stem]), sweep)), wanted)
        cells.append(dataclasses.replace(cell, file=wanted))
    return dataclasses.replace(sweep, cells=tuple(cells))


def identity(run: Run, data: str, judged: Mapping[str, Any] = NOTHING) -> str:
    """The hash of a resolved run, of its data (hex), how it is `judged`, and the schema of run files, shortened."""
    known = {"run": json.loads(serialize.to_json(run)), "data": data, "schema": run_file.SCHEMA, **judged}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:_LETTERS]


def _judged(sweep: Sweep) -> dict[str, Any]:
    """What decides the numbers of a cell beside its run: defenses with all their options, and other defenders.

    Nothing where there are none, so that such cells keep the names that they have had.
    """
    names = {one for name in sweep.defend for one in (description.DEFENSES if name == "all" else [name])}
    options = {name: json.loads(serialize.choice_to_json(sweep.defense(name))) for name in sorted(names)}
    every = {"defend": sorted(set(sweep.defend)), "defense": options, "defender": dict(sweep.defenders)}
    return {name: value for name, value in every.items() if value}


def crafted(cell: Cell, folder: Path, data_dir: str | None = None) -> Path | None:
    """A file of `folder` with the poison of a cell that has none of its own: judged otherwise before.

    None where there is none, and where the run reads files of which no run file tells what they held.
    """
    try:
        run = targets.read_rows(cell.run)
        if _of_files(run):
            return None
        data = _of_data(run, data_dir)
    except PoisonError:
        return None
    paths = (folder / f"{stem}.h5" for stem in _stems(folder) if cell.name in (stem, _label(stem)))
    return next((path for path in paths if _holds(path, run, data, data_dir)), None)


def _stems(folder: Path) -> list[str]:
    """The names of the run files in a folder, without their endings."""
    return sorted(path.name.removesuffix(".h5") for path in folder.glob("*.h5"))


def keep_index(sweep: Sweep, folder: Path) -> None:
    """Write which file each cell has, for people and for reports; what another process knew beyond is kept."""
    known = _index(folder)
    rows = [["cell", "file"], *([cell.name, cell.file or known.get(cell.name, "")] for cell in sweep.cells)]
    content = "".join(f"{name},{stem and stem + '.h5'}\n" for name, stem in rows[1:])
    content = ",".join(rows[0]) + "\n" + content
    path = folder / INDEX
    if not path.exists() or path.read_bytes() != content.encode():
        run_file.replace(path, content.encode())


def indexed(sweep: Sweep, folder: Path) -> Sweep:
    """`sweep` with the names of its cells' files as the folder tells them; no data are read.

    In a folder of an older version, which tells none, they are the labels.
    """
    known = _index(folder)
    cells = (dataclasses.replace(cell, file=known.get(cell.name, "")) for cell in sweep.cells)
    return dataclasses.replace(sweep, cells=tuple(cells))


def _index(folder: Path) -> dict[str, str]:
    """The files of cells, without the ending, by label; none where the folder does not tell."""
    try:
        lines = read_text(folder / INDEX).splitlines()[1:]
    except (OSError, UnicodeDecodeError):
        return {}
    parts = (line.partition(",") for line in lines)
    return {name: file.removesuffix(".h5") for name, _, file in parts if file and "/" not in file}


def _label(stem: str) -> str:
    """The label of a file's name; empty where it has no hash."""
    label, _, known = stem.rpartition(".")
    return label if re.fullmatch(f"[0-9a-f]{{{_LETTERS}}}", known) else ""


def _holds(path: Path, run: Run, data: str, data_dir: str | None) -> bool:
    """Whether a file holds that run on these data."""
    try:
        found, sha256 = run_file.header(path)
        return sha256 == data and serialize.same(found, serialize.to_json(prepare(run, data_dir).run))
    except PoisonError:
        return False


def fits(found: Outline, sweep: Sweep) -> bool:
    """Whether what a file holds of the sweep's defenses was made with their options, as far as they are at hand."""
    tried = description.defenses(sweep.defend, found.real)
    names = [name for name in tried if name in found.defenses and name in description.DEFENSES]
    try:
        return all(serialize.choice_from_json(found.defenses[name]) == sweep.defense(name) for name in names)
    except (PoisonError, ValueError, RecursionError):  # options that there are no more, or no options
        return False


def _of_files(run: Run) -> str:
    """Hashes of what a run reads beside its data set: poison of another tool, and methods from a user's file."""
    return _of_content(Path(str(run.attack.options.get("path") or ""))) + _of_code(serialize.methods(run).items())


def _of_code(methods: Iterable[tuple[str, str]]) -> str:
    """Hashes of the files in which those of `methods`, kinds and names, are written that are not the package's."""
    paths = (plugins.code(kind, name) for kind, name in methods)
    return "".join(_of_content(path) for path in paths if path is not None)


def _of_content(path: Path) -> str:
    path = path.expanduser()
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _of_data(run: Run, data_dir: str | None) -> str:
    """The hash of the data set of a run."""
    options = run.dataset.options
    stamps = [_stamp(Path(str(options.get(name) or "")).expanduser()) for name in _FILES]
    where = data_dir or os.environ.get("POISON_DATA_DIR", "")
    return _of_dataset(serialize.choice_to_json(run.dataset), where, json.dumps(stamps), data_dir)


@functools.lru_cache(maxsize=1024)
def _of_dataset(choice: str, where: str, stamps: str, data_dir: str | None) -> str:
    """The hash of a data set; `where` and `stamps` change when its files may have changed."""
    made = description.resolve(serialize.from_mapping({"dataset": json.loads(choice)})).dataset
    return description.build(made, "dataset").load(data_dir).sha256


def _stamp(path: Path) -> list[int]:
    known = path.stat() if path.is_file() else None
    return [known.st_mtime_ns, known.st_size, known.st_ino] if known else []
