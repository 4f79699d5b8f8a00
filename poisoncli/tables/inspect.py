"""What a user's file holds, what will be done with each column, and all that is wrong with it, at once."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np

from poisoncli.core.errors import PoisonError
from poisoncli.tables import folder, schema
from poisoncli.tables import read as files
from poisoncli.tables.schema import CATEGORY, DATE, EMPTY, IDENTIFIER, LEFT_OUT, TEXT, YES_NO, Column

LOG = logging.getLogger(__name__)
TARGET_NAMES = ("target", "label", "y")  # taken as the target column if no other is named
MARKS = ("poison", "row", "replaced")  # columns that `poison export` adds
_ENOUGH = 20  # rows, from which on it is no chance that a column tells the target


@dataclasses.dataclass(frozen=True)
class Request:
    """What the user says of his files.

    path, val, test: the files, the last two where he has them apart. target, ignore: columns, by name; column:
    kinds, as `name=kind`. split, group, time: columns that part the rows; empty: none.
    """

    path: str
    target: str = ""
    column: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    val: str = ""
    test: str = ""
    split: str = ""
    group: str = ""
    time: str = ""


@dataclasses.dataclass(frozen=True)
class Inspected:
    """What the files hold.

    frame: the columns of all files [N]; x: sparse features beside them, or None. arrays: see `read.Raw`.
    columns: every column but the target; used: the names of those that become features.
    uses: what will be done with each column, in words, by name.
    target: the name of its column; empty if there is none. sizes: rows of each file.
    problems: what must be mended before the rows can be used, one sentence each.
    """

    frame: Any
    x: Any
    arrays: bool
    columns: tuple[Column, ...]
    used: tuple[str, ...]
    uses: dict[str, str]
    target: str
    sizes: tuple[int, ...]
    problems: list[str]


def inspect(request: Request) -> Inspected:
    """Read the files and say what their columns are. Raises `PoisonError` where a file cannot be read at all."""
    problems: list[str] = []
    frame, x, arrays, told, sizes = _read(request, problems)
    names = [str(name) for name in frame.columns]
    repeated = dict.fromkeys(name for name in names if names.count(name) > 1)
    problems += [f"there is more than one column {name!r}: rename all but one" for name in repeated]
    frame = frame.loc[:, ~frame.columns.duplicated()]
    names = [str(name) for name in frame.columns]
    target = _target(names, request.target or told, request.target, problems)
    out = _left_out(frame, names, request, target, problems)
    asked = schema.kinds_asked(request.column, names, problems)
    if Path(request.path).expanduser().is_dir():
        asked = {folder.COLUMNS[1]: TEXT} | asked
    rest = [name for name in names if name != target]
    columns = _columns(frame[rest], arrays, asked, problems, out, lambda row: _row_name(request, sizes, row))
    uses = {one.name: out.get(one.name) or _use(one, x is not None) for one in columns}
    used = tuple(one.name for one in columns if one.name not in out and one.kind not in LEFT_OUT)
    if x is None and target and not used and not problems:
        problems.append(
            f"there are no columns to learn from beside {target!r}: give features, or --column name=kind"
        )
    return Inspected(frame, x, arrays, tuple(columns), used, uses, target, sizes, problems)


def refuse(problems: list[str], path: str) -> None:
    """Raise `PoisonError` with all problems at once, if there are any."""
    if len(problems) == 1:
        raise PoisonError(f"{path}: {problems[0]}")
    if problems:
        listed = "".join(f"\n  {number}. {problem}" for number, problem in enumerate(problems, 1))
        raise PoisonError(f"{path} has {len(problems)} problems:{listed}")


def _read(request: Request, problems: list[str]) -> tuple[Any, Any, bool, str, tuple[int, ...]]:
    """The rows of all files below each other, sparse features, whether they were arrays, target, rows of each."""
    import pandas
    import scipy.sparse as sp

    raws = []
    for path in filter(None, (request.path, request.val, request.test)):
        place = Path(path).expanduser()
        if place.is_dir():
            raws.append(files.Raw(folder.read(place), target="label"))
        else:
            more = filter(None, (request.split, request.group, request.time))
            raws.append(files.read(place, request.target, tuple(more)))
    if not raws:
        raise PoisonError("the file has no name: give its path with --dataset")
    first = raws[0]
    for path, raw in zip(filter(None, (request.val, request.test)), raws[1:], strict=True):
        lacking = [str(name) for name in first.frame.columns if name not in raw.frame.columns]
        if lacking:
            problems.append(f"{path} lacks the columns {', '.join(map(repr, lacking))} of {request.path}: add them")
    if any((raw.x is None) != (first.x is None) for raw in raws):
        raise PoisonError("some of the files are sparse and some are not: write them in one format")
    x: Any = None
    if first.x is not None:
        m = max(raw.x.shape[1] for raw in raws)
        for raw in raws:
            raw.x.resize(raw.x.shape[0], m)
        x = sp.vstack([raw.x for raw in raws], format="csr") if len(raws) > 1 else first.x
    frame = first.frame
    if len(raws) > 1 and not problems:
        frame = pandas.concat([raw.frame[first.frame.columns] for raw in raws], ignore_index=True)
    return frame, x, first.arrays, first.target, tuple(len(raw.frame) for raw in raws)


def _row_name(request: Request, sizes: tuple[int, ...], row: int) -> str:
    """What a reader of the files calls the row `row` of all of them."""
    paths = [path for path in (request.path, request.val, request.test) if path]
    for path, size in zip(paths, sizes, strict=True):
        if row < size:
            where = f" of {path}" if len(paths) > 1 else ""
            return files.row_name(Path(path), row) + where
        row -= size
    return f"row {row}"


def _target(names: list[str], wanted: str, typed: str, problems: list[str]) -> str:
    """The name of the target's column; empty, and a problem, if there is none."""
    usual = [name for name in names if name.lower() in TARGET_NAMES]
    if wanted and wanted in names:
        return wanted
    if wanted:
        problems.append(schema.absent(wanted, names, "--target"))
    elif len(usual) == 1:
        LOG.info("the target is the column %r: name another with --target", usual[0])
        return usual[0]
    else:
        shown = ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")
        problems.append(f"no column is called target, label or y: name one with --target, out of {shown}")
    return ""


def _left_out(frame: Any, names: list[str], request: Request, target: str, problems: list[str]) -> dict[str, str]:
    """Columns that do not become features whatever they hold, and why."""
    out = {}
    for name in request.ignore:
        if name not in names:
            problems.append(schema.absent(name, names, "--ignore"))
        elif name == target:
            problems.append(f"{name!r} is the target, and cannot be left out: drop --ignore {name}")
        out[name] = "left out: --ignore"
    for flag, name in (("split", request.split), ("group", request.group), ("time", request.time)):
        if name and name not in names:
            problems.append(schema.absent(name, names, f"--{flag}-column"))
        if name:
            out[name] = f"left out: parts the rows (--{flag}-column)"
    if Path(request.path).expanduser().is_dir():
        out[folder.COLUMNS[0]] = "left out: names the files"
    if set(MARKS) <= set(names):
        out.update(
            dict.fromkeys((*MARKS, *(n for n in ("weight", "score") if n in names)), "left out: by poison export")
        )
    rest = [name for name in names if name != target]
    if rest and _is_index(frame[rest[0]], rest[0]):
        LOG.info("the unnamed first column counts the rows: it is left out")
        out[rest[0]] = "left out: counts the rows"
    return out


def _is_index(column: Any, name: str) -> bool:
    """Whether a column is the index that `DataFrame.to_csv` writes first: without a name, counting from 0 or 1."""
    if name not in ("", "Unnamed: 0") or column.dtype.kind not in "iu":
        return False
    counted = np.arange(len(column))
    return any(np.array_equal(column, counted + first) for first in (0, 1))


def _columns(
    frame: Any, arrays: bool, asked: dict[str, str], problems: list[str], out: dict, row_name: Any
) -> list:
    """The columns of a frame; those of an array are numbers, and name no rows."""
    kept = [name for name in frame.columns if name not in out]
    if arrays:  # a pixel that is 0 or 1 is a number
        kinds = {"f": schema.NUMBER, "b": schema.WHOLE, "i": schema.WHOLE, "u": schema.WHOLE}
        asked = {name: kinds[kind] for name in kept if (kind := frame[name].dtype.kind) in kinds} | asked
    found = {one.name: one for one in schema.infer(frame[kept], asked, problems, row_name)}
    missing = {name: int(frame[name].isna().sum()) for name in frame.columns if name in out}
    return [found.get(name) or Column(name, IDENTIFIER, missing[name]) for name in map(str, frame.columns)]


def _use(column: Column, sparse: bool) -> str:
    """What will be done with a column, in words."""
    if column.kind == EMPTY:
        return "left out: has no value that could be used"
    if column.kind == IDENTIFIER:
        return f"left out: names the rows, {column.distinct:,} values (--column {column.name}=category takes it)"
    imputed = "the median" if column.kind != YES_NO else "the more frequent one"
    missing = f"; {column.missing:,} missing become {imputed}" if column.missing else ""
    if column.kind == CATEGORY:
        own = "; missing is a category of its own" if column.missing else ""
        return f"one feature for each of {column.distinct:,} categories{own}"
    if column.kind == TEXT:
        return "words counted" + (f"; {column.missing:,} missing have none" if column.missing else "")
    if column.kind == YES_NO:
        return f"0 for {column.values[0]}, 1 for {column.values[1]}{missing}"
    since = f"{'seconds' if column.unit == 1 else 'days'} since 1970, " if column.kind == DATE else ""
    return f"{since}{'taken as it is' if sparse else 'standardized'}{missing}"


def telling(frame: Any, names: tuple[str, ...], y: np.ndarray) -> list[str]:
    """The columns that alone determine the target: each of their values goes with one target."""

    if len(y) < _ENOUGH:
        return []
    return [name for name in names if _tells(frame[name], y)]


def _tells(column: Any, y: np.ndarray) -> bool:
    import pandas

    codes = np.empty(0, int)
    for some in (slice(0, 1000), slice(None)):  # few rows show that most columns do not
        codes = pandas.factorize(column.iloc[some])[0]
        distinct: Any = pandas.Series(y[some]).groupby(codes, sort=False).nunique()
        if distinct.max() > 1:
            return False
    return bool(1 < codes.max() + 1 <= len(y) / 2)
