"""Values of a method's fields: read from text, JSON or TOML, and held against their ranges."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from poisoncli.core.errors import PoisonError


def read_value(field: dataclasses.Field, value: Any) -> Any:
    """`value`, from text, JSON or TOML, as the type of `field`. Raises `PoisonError` if it is none."""
    kind = str(field.type)
    if kind.endswith(" | None"):
        if value is None:
            return None
        kind = kind.removesuffix(" | None")
    try:
        if str(value) in ("True", "False") and kind not in ("bool", "str"):
            raise TypeError
        if kind.startswith("tuple"):
            item = _number if "float" in kind else _whole if "int" in kind else str
            parts = value.split(",") if isinstance(value, str) else value
            return tuple(item(part) for part in parts if part != "")
        if kind == "bool":
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
                str(value).lower()
            ]
        if kind == "int":
            return _whole(value)
        if kind in ("float", "Fixed"):
            return _number(value)
        if not isinstance(value, str):
            raise TypeError
        return value
    except (ValueError, TypeError, KeyError, OverflowError):
        wanted = next(words for start, words in _WANTED.items() if kind.startswith(start))
        raise PoisonError(f"option {field.name} is {str(value)[:99]!r}: give {wanted}") from None


_WANTED = {
    "tuple": "values with commas between them",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "Fixed": "a number",
    "str": "a text",
}


def _whole(value: Any) -> int:
    """An integer, also from text and from floats without a fraction such as 1e3."""
    try:
        number = int(value)
    except ValueError:  # a text such as 1e3
        value = float(value)
        number = int(value)
    if not isinstance(value, str) and number != value:
        raise ValueError(value)
    return number


def _number(value: Any) -> float:
    number = float(value)
    if math.isnan(number):
        raise ValueError(value)
    return number


def in_range(what: str, value: Any, field: dataclasses.Field) -> Any:
    """`value`, called `what`, if it lies in the range of `field`. Raises `PoisonError` if not."""
    limits = field.metadata
    if not limits:
        return value
    given = value if isinstance(value, tuple) else (value,)
    if limits["choices"] and not set(given) <= set(limits["choices"]):
        raise PoisonError(f"{what} is {value!r}: choose one of {', '.join(limits['choices'])}")
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, str):
            continue
        inside = limits["low"] <= number <= limits["high"] and number > limits["above"]
        if not (inside and math.isfinite(number)):
            raise PoisonError(f"{what} is {number}: it must lie in {range_of(field)}")
    return value


def range_of(field: dataclasses.Field) -> str:
    """The range of a method's field, in words; empty if it has none."""
    limits = field.metadata
    if not limits:
        return ""
    if limits["choices"]:
        return ", ".join(limits["choices"])
    low = f"({limits['above']:g}" if limits["above"] > limits["low"] else f"[{limits['low']:g}"
    high = "inf)" if limits["high"] == math.inf else f"{limits['high']:g}]"
    return f"{low}, {high}"
