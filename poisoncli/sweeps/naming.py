"""What the run file of a cell is called: a label for people, and a hash of all that its result depends on."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import itertools
import json
import os
import re
import warnings
from pathlib import Path

from poisoncli.core.errors import MissingDataError, PoisonError
from poisoncli.runs import description, plugins, run_file, serialize, targets
from poisoncli.runs.description import Run
from poisoncli.runs.prepare import prepare
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
    folder.mkdir(parents=True, exist_ok=True)
    plan = folder / PLAN
    with writing(plan):
        old = read_text(plan) if plan.exists() else sweep.text
        if old != sweep.text and not _is_same(old, sweep):
            other = next(path for n in itertools.count(1) if not (path := folder / f"sweep.{n}.toml").exists())
            run_file.replace(other, old.encode())
            warnings.warn(
                f"{folder} held another sweep: its description is kept in {other.name}, and its run files stay",
                stacklevel=2,
            )
        if old != sweep.text or not plan.exists():
            run_file.replace(plan, sweep.text.encode())
        sweep = named(sweep, folder, data_dir)
        keep_index(sweep, folder)
    return sweep


def _is_same(text: str, sweep: Sweep) -> bool:
    """Whether a plan describes the same sweep in other words."""
    try:
        return dataclasses.replace(parse(text, sweep.title), text=sweep.text) == sweep
    except PoisonError:
        return False


def named(sweep: Sweep, folder: Path, data_dir: str | None = None) -> Sweep:
    """`sweep` with the names of its cells' files: LABEL.HASH, or that of a file which holds the run already.

    The hash is of the resolved run, the data and the schema, so that a cell whose options or data have changed has
    another file. What an older version called otherwise is taken if it holds the same run on the same data. A cell
    whose data are not at hand keeps its label alone.
    """
    there = sorted(path.name.removesuffix(".h5") for path in folder.glob("*.h5"))
    cells = []
    for cell in sweep.cells:
        try:
            run = targets.read_rows(cell.run)
            data, more = _of_data(run, data_dir), _of_files(run)
        except MissingDataError:
            cells.append(cell)
            continue
        except PoisonError:  # the cell itself says what is wrong, once it is run
            run, data, more = cell.run, "", ""
        wanted = f"{cell.name}.{identity(run, data + more)}"
        if wanted not in there:
            older = (stem for stem in there if stem == cell.name or (_label(stem) == cell.name and not more))
            same = (stem for stem in older if _holds(folder / f"{stem}.h5", run, data, data_dir))
            wanted = next(same, wanted)
        cells.append(dataclasses.replace(cell, file=wanted))
    return dataclasses.replace(sweep, cells=tuple(cells))


def identity(run: Run, data: str) -> str:
    """The hash of a resolved run, of its data (hex), and of the schema of run files, shortened."""
    known = {"run": json.loads(serialize.to_json(run)), "data": data, "schema": run_file.SCHEMA}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:_LETTERS]


def keep_index(sweep: Sweep, folder: Path) -> None:
    """Write which file each cell has, for people and for reports; what another process knew beyond is kept."""
    known = _index(folder)
    rows = [["cell", "file"], *([cell.name, cell.file or known.get(cell.name, "")] for cell in sweep.cells)]
    content = "".join(f"{name},{stem and stem + '.h5'}\n" for name, stem in rows[1:])
    content = ",".join(rows[0]) + "\n" + content
    path = folder / INDEX
    if not path.exists() or path.read_text(encoding="utf-8") != content:
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


def _of_files(run: Run) -> str:
    """Hashes of what a run reads beside its data set: poison of another tool, and methods from a user's file."""
    paths = [Path(str(run.attack.options.get("path") or "")).expanduser()]
    names = serialize.methods(run)
    for method in plugins.sources(names):
        kind = method.partition(" ")[0]
        paths.append(Path(inspect.getsourcefile(description.TABLES[kind][names[kind]]) or ""))
    return "".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths if path.is_file())


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
