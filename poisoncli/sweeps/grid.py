"""The cells of a sweep: the runs to which its panels and lines expand, and in what they differ."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from poisoncli.core.errors import PoisonError
from poisoncli.runs import description
from poisoncli.runs.description import Run

_NOT_A_RUN = ("line", "selected", "against")  # what a panel has beside the fields of a run
LONGEST = 200  # letters of the name of a run file


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of a sweep, its file `name`.h5, and the panel and the line of the figure that it becomes."""

    name: str
    panel: str
    line: str
    run: Run


def cells(plan: Mapping[str, Any], source: str, read: Callable[[Run], Run]) -> tuple[Cell, ...]:
    """The runs of the TOML `plan`, see `plan.parse`; each is passed through `read`.

    Raises `PoisonError` for what is no run, or has no file name.
    """
    panels, lines = plan.get("panel") or {"": {}}, plan.get("line") or {"run": {}}
    found: list[Cell] = []
    for (panel, over), (line, under) in itertools.product(panels.items(), lines.items()):
        both = over.get("line", {}).get(line, {})
        fields = dict(plan.get("base", {}))
        for part in (over, under, both, plan.get("override", {})):
            fields = _merge(fields, {k: v for k, v in part.items() if k not in _NOT_A_RUN})
        name = "-".join(part for part in (slug(panel), slug(line)) if part)
        if not 0 < len(name) <= LONGEST:
            raise PoisonError(f"{source}: {panel!r} and {line!r} make no file name: use 1 to {LONGEST} letters")
        name = _unique(name, {cell.name for cell in found})
        found.append(Cell(name, panel, line, read(description.from_mapping(fields))))
    return tuple(found)


def slug(text: str) -> str:
    kept = "".join(letter if letter.isalnum() else "-" for letter in text.lower())
    return "-".join(part for part in kept.split("-") if part)


def _unique(name: str, taken: set[str]) -> str:
    """`name`, with a number where an earlier cell has it: `lr 0.1` and `lr 0-1` need a file each."""
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return name if name not in taken else next(one for one in numbered if one not in taken)


def differences(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """For each cell the fields and options of its run in which cells differ, such as `n_val` or `attack.batch`."""
    runs = [_flat(json.loads(description.to_json(cell.run))) for cell in cells]
    names = dict.fromkeys(name for run in runs for name in run)
    different = [name for name in names if len({json.dumps(run.get(name)) for run in runs}) > 1]
    return [{name: run[name] for name in different if name in run} for run in runs]


def _flat(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found = {}
    for name, value in fields.items():
        found.update(_flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value})
    return found


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
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
