"""The cells of a sweep: the runs to which its panels and lines expand, and in what they differ."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from poisoncli.core.errors import PoisonError
from poisoncli.runs import description, serialize
from poisoncli.runs.description import Run
from poisoncli.sweeps import expand

_NOT_A_RUN = ("line", "selected", "against")  # what a panel has beside the fields of a run
LONGEST = 200  # letters of the name of a run file


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of a sweep, and the panel and the line of the figure that it becomes.

    name: its label, unique in the sweep; file: the name of its run file without the ending, see `naming`; empty as
    long as it is not known. axes: the values that it has of the grid's names, of those with several.
    """

    name: str
    panel: str
    line: str
    run: Run
    file: str = ""
    axes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def cells(plan: Mapping[str, Any], source: str, read: Callable[[Run], Run]) -> tuple[Cell, ...]:
    """The runs of the TOML `plan`, see `plan.parse`; each is passed through `read`.

    Raises `PoisonError` for what is no run, or has no file name.
    """
    panels, lines = plan.get("panel") or {"": {}}, plan.get("line") or {"run": {}}
    axes = expand.axes(plan.get("grid", {}), source)
    if both := set(axes) & {expand.known_name(name) for name in plan.get("override", {})}:
        raise PoisonError(f"{source}: grid and override both set {min(both)}: leave it out of one of them")
    points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    expand.check_size(len(panels) * len(lines) * len(points), source)
    found: list[Cell] = []
    taken: set[str] = set()
    for (panel, over), (line, under), point in itertools.product(panels.items(), lines.items(), points):
        both = over.get("line", {}).get(line, {})
        fields = dict(plan.get("base", {}))
        for part in (over, under, both, plan.get("override", {})):
            fields = merge(fields, {k: v for k, v in part.items() if k not in _NOT_A_RUN})
        for axis in expand.ordered(axes):
            fields = merge(fields, expand.fields(axis, point[axis], fields))
        run = read(serialize.from_mapping(fields))
        own = {axis: _value(run, axis, point[axis]) for axis, values in axes.items() if len(values) > 1}
        name = _label(panel, line, own)
        if not 0 < len(name) <= LONGEST:
            raise PoisonError(f"{source}: {panel!r} and {line!r} make no file name: use 1 to {LONGEST} letters")
        name = _unique(name, taken)
        taken.add(name)
        found.append(Cell(name, panel, line, run, axes=own))
    _check_distinct(found, source)
    return tuple(found)


def _value(run: Run, axis: str, given: Any) -> Any:
    """What a resolved run has for an axis: a number where the command line had a text."""
    if axis in ("lambda", *description.TABLES):
        named = given.get("name") if isinstance(given, Mapping) else given
        return named if axis != "lambda" or run.lambda_ is None else run.lambda_
    found = flat(json.loads(serialize.to_json(run))).get(axis, given)
    return ",".join(map(str, found)) if isinstance(found, list) else found


def _check_distinct(found: Sequence[Cell], source: str) -> None:
    """Raise `PoisonError` where two values of an axis are the same."""
    seen: dict[str, Cell] = {}
    for cell in found if any(cell.axes for cell in found) else ():
        key = json.dumps([cell.panel, cell.line, serialize.to_json(cell.run)])
        if key in seen:
            raise PoisonError(f"{source}: {seen[key].name} and {cell.name} are the same run: list each value once")
        seen[key] = cell


def _label(panel: str, line: str, axes: Mapping[str, Any]) -> str:
    """A name for the file of a cell, out of its panel, its line, and its values of the grid."""
    ends = [axis.rpartition(".")[2] for axis in axes]
    parts = [slug(panel), slug(line) if line != "run" or not axes else ""]
    for axis, value in axes.items():
        short = axis.rpartition(".")[2]
        name = axis if ends.count(short) > 1 else short
        text = f"{value:g}" if isinstance(value, float) else str(value)
        parts.append(f"{slug(name)}-{slug(Path(text).name, '.-')}")
    return "-".join(part for part in parts if part)[: LONGEST // 2 if axes else None]


def slug(text: str, kept: str = "") -> str:
    """`text` in small letters, numbers and hyphens, and the signs in `kept`, fit for the name of a file."""
    spelled = "".join(letter if letter.isalnum() or letter in kept else "-" for letter in text.lower())
    return spelled.strip("-. ") if kept else "-".join(part for part in spelled.split("-") if part)


def _unique(name: str, taken: set[str]) -> str:
    """`name`, with a number where an earlier cell has it: `lr 0.1` and `lr 0-1` need a file each."""
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return name if name not in taken else next(one for one in numbered if one not in taken)


def differences(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """For each cell the fields and options of its run in which cells differ, such as `n_val` or `attack.batch`."""
    runs = [flat(json.loads(serialize.to_json(cell.run))) for cell in cells]
    names = dict.fromkeys(name for run in runs for name in run)
    different = [name for name in names if len({json.dumps(run.get(name)) for run in runs}) > 1]
    return [{name: run[name] for name in different if name in run} for run in runs]


def flat(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested fields by dotted names, such as `attack.batch`."""
    found = {}
    for name, value in fields.items():
        found.update(flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value})
    return found


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the fields of `over`; the options of a method are merged as long as its name stays."""
    merged = dict(base)
    for name, value in over.items():
        old = merged.get(name)
        old = {"name": old} if isinstance(old, str) and name in description.TABLES else old
        if (
            isinstance(old, Mapping)
            and isinstance(value, Mapping)
            and value.get("name", old.get("name")) == old.get("name")
        ):
            value = {**old, **value}
        merged[name] = value
    return merged
