"""The axes of a grid: which values `--grid NAME=VALUES`, or the table `grid` of a sweep's TOML, gives to a name."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from poisoncli.core.errors import PoisonError
from poisoncli.runs import description
from poisoncli.runs.description import Run

MOST_CELLS = 10_000  # runs of one sweep
_FLAGS = {"reps": "repetitions", "method": "attack"}  # flags of `poison attack` that a run calls otherwise
_FLAGS_OF = {  # and those that are options of a method
    **dict.fromkeys(("hypergradient", "target_rows", "target_label", "poison_label"), "attack"),
    **dict.fromkeys(("target", "classes", "column", "ignore", "val", "test"), "dataset"),
    **dict.fromkeys(("split_column", "group_column", "time_column", "balance"), "dataset"),
}
_NUMBER = r"-?[0-9.]+(?:[eE][-+]?[0-9]+)?"
_RANGE = re.compile(rf"({_NUMBER}):({_NUMBER})(?::({_NUMBER}))?")
_LARGEST = Decimal(10) ** 15  # number of a range

Axes = dict[str, tuple[Any, ...]]


def words(texts: Sequence[str]) -> dict[str, str]:
    """The names and values of `--grid NAME=VALUES`, each once. Raises `PoisonError` for anything else."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = known_name(name.strip())
        if not equals or not values.strip():
            raise PoisonError(
                f"--grid {text} names no values: write --grid trainer.rate=0.01,0.1 or --grid seed=0:10"
            )
        if name in found:
            raise PoisonError(f"--grid {name} is given twice: list all its values in one, with commas between them")
        found[name] = values
    return found


def by_name(table: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a table `grid` under the names that a sweep has for them."""
    return {known_name(name): values for name, values in _flat(table)}


def axes(table: Mapping[str, Any], source: str) -> Axes:
    """The values of each name: of a text as on the command line, of a list its items, of anything else itself.

    Raises `PoisonError` for a name that no run has, an axis without values, and a product of too many cells.
    """
    found: Axes = {}
    for given, values in _flat(table):
        name = known_name(given)
        if name in found:
            raise PoisonError(f"{source}: the grid has {name} twice: list all its values in one")
        listed = _values(name, values) if isinstance(values, str) else values
        found[name] = tuple(listed) if isinstance(listed, list) else (listed,)
        if not found[name]:
            raise PoisonError(f"{source}: the grid's {name} has no values: give one at least")
    check_size(math.prod(map(len, found.values())), source)
    return found


def _flat(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The entries of a TOML table, where `trainer.rate` without quotes is a table within it."""
    for name, values in table.items():
        if name in description.TABLES and isinstance(values, Mapping):
            yield from ((f"{name}.{option}", item) for option, item in values.items())
        else:
            yield name, values


def check_size(count: int, source: str) -> None:
    """Raise `PoisonError` for a sweep of too many cells."""
    if count > MOST_CELLS:
        raise PoisonError(
            f"{source} has {count:,} cells, and a sweep at most {MOST_CELLS:,}: give fewer values, or part it"
        )


def known_name(name: str) -> str:
    """What a sweep calls `name`: a field of a run, or an option as `attack.batch`.

    A flag of `poison attack` may be given as it is typed there, such as n-train, reps, method or target. Raises
    `PoisonError` for a name that no run has.
    """
    flag = name.removeprefix("--").replace("-", "_")
    kind, dot, _ = flag.partition(".")
    if dot:
        description.known(kind, description.TABLES, "kind of method")
        return flag
    if flag in _FLAGS_OF:
        return f"{_FLAGS_OF[flag]}.{'target' if flag == 'target_rows' else flag}"
    fields = [field.name.rstrip("_") for field in dataclasses.fields(Run)]
    found = _FLAGS.get(flag, flag)
    if found not in fields:
        raise PoisonError(
            f"a run has nothing named {name!r} to vary: give one of {', '.join(fields)}, or an option as "
            f"{' or '.join(f'{kind}.NAME' for kind in description.TABLES)}"
        )
    return found


def fields(name: str, value: Any, base: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a run that the axis `name` sets to `value`, over those of `base`."""
    kind, dot, option = name.partition(".")
    if dot:
        old = base.get(kind, Run().dataset.name if kind == "dataset" else "")
        return {kind: {**(old if isinstance(old, Mapping) else {"name": old}), option: value}}
    if name in description.TABLES and isinstance(value, str):
        chosen = description.named(name, value)
        return {name: {"name": chosen.name, **chosen.options}}
    if name == "lambda":  # a policy replaces the others, as on the command line
        clean = value == "clean"
        return {"lambda": None if clean else value, "clean_lambda": clean, "learn_lambda": False}
    return {name: value}


def ordered(found: Axes) -> list[str]:
    """The axes as they are applied: methods before their options."""
    return sorted(found, key=lambda name: "." in name)


def _values(name: str, text: str) -> list[str]:
    """The values that a text lists, with commas, or with semicolons where they have commas of their own."""
    parts = [part.strip() for part in text.split(";" if ";" in text else ",")]
    found: list[str] = []
    for part in filter(None, parts):
        range_ = _RANGE.fullmatch(part)
        found += _steps(name, part, *range_.groups()) if range_ else [part]
    return found


def _steps(name: str, text: str, start: str, stop: str, step: str | None) -> list[str]:
    """The numbers of start:stop:step, without the stop, as in Python; decimal, so that 0.1:0.4:0.1 has three."""
    try:
        first, last, by = Decimal(start), Decimal(stop), Decimal(step or 1)
        count = (last - first) / by if by else Decimal(0)
    except ArithmeticError:
        raise PoisonError(f"--grid {name}={text} is no range: write start:stop or start:stop:step") from None
    if count <= 0 or max(abs(first), abs(last)) > _LARGEST:
        raise PoisonError(
            f"--grid {name}={text} holds no number: a range is start:stop:step, and ends before its stop"
        )
    count = math.ceil(min(count, _LARGEST))
    check_size(count, f"--grid {name}={text}")
    return [_plain(first + number * by) for number in range(count)]


def _plain(number: Decimal) -> str:
    return str(int(number)) if number == number.to_integral_value() else f"{number:f}"
