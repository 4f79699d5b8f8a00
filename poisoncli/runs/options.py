"""Values of a method's fields: read by pydantic from text, JSON or TOML, and held against their ranges."""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from poisoncli.core.errors import PoisonError

LARGEST = 2**31 - 1  # whole number in a range: compiled code counts with 32 bits
LARGEST_SEED = 2**32 - 1
_LIMITS: dict[str, Any] = {"low": -math.inf, "high": math.inf, "above": -math.inf, "choices": ()}
_OUTSIDE = ("greater_than", "greater_than_equal", "less_than_equal", "finite_number")


def read_value(what: str, made: type, name: str, value: Any) -> Any:
    """`value`, from text, JSON or TOML, as the field `name` of the dataclass `made`; in messages it is `what`.

    Nothing is bent to fit: true is no number, 1.5 no whole number, NaN no value. Raises `PoisonError` where it does
    not have the type of the field, or lies outside its range.
    """
    field = next(field for field in dataclasses.fields(made) if field.name == name)
    try:
        return _adapter(made, name).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    limits, found = _limits(field), first["input"]
    if limits["choices"]:
        raise PoisonError(f"{what} is {value!r}: choose one of {', '.join(limits['choices'])}") from None
    if first["type"] not in _OUTSIDE:
        within = f" in {range_of(field)}" if range_of(field) else ""
        wanted = _in_words(_hints(made)[name])
        raise PoisonError(f"{what} is {str(value)[:99]!r}: give {wanted}{within}") from None
    whole = int in (_hints(made)[name], *get_args(_hints(made)[name]))
    broken, said = first.get("ctx", {}), str(found)[:99]
    beyond = isinstance(found, int) and found > LARGEST
    if "le" in broken and (beyond or not range_of(field)):
        raise PoisonError(f"{what} is {said}: it must be at most {broken['le']}") from None
    if not range_of(field):
        raise PoisonError(f"{what} is {said}: it must be at least {broken.get('ge')}") from None
    within = range_of(field, LARGEST if whole else math.inf)
    raise PoisonError(f"{what} is {said}: it must lie in {within}") from None


@functools.cache
def _adapter(made: type, name: str) -> TypeAdapter[Any]:
    """What reads the values of a field."""
    field = next(field for field in dataclasses.fields(made) if field.name == name)
    kind = _careful(_hints(made)[name], _limits(field), bool(field.metadata))
    return TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True))


@functools.cache
def _hints(made: type) -> dict[str, Any]:
    """The types of a dataclass's fields, which stand in its file as types or as texts."""
    try:
        return get_type_hints(made, include_extras=True)
    except NameError as error:
        raise PoisonError(f"the types of {made.__name__}'s fields cannot be read ({error}): import them") from None


def _careful(kind: Any, limits: dict[str, Any], limited: bool, item: bool = False) -> Any:
    """The type `kind`, numbers within `limits`, for which pydantic converts no more than is meant.

    item: it is that of the items of a list, where a number may stand for a text: the name of a class.
    """
    origin, parts = get_origin(kind), get_args(kind)
    if limits["choices"] and kind is str:
        return Literal[tuple(limits["choices"])]
    if kind is int:
        top = LARGEST if limited else LARGEST_SEED
        low = max(limits["low"], -LARGEST - 1)
        return Annotated[int, BeforeValidator(_whole), Field(ge=int(low), le=min(top, limits["high"]))]
    if kind is float:
        bounds = Field(ge=limits["low"], le=limits["high"], gt=limits["above"], allow_inf_nan=not limited)
        return Annotated[float, BeforeValidator(_number), bounds if limited else Field()]
    if kind is str and item:
        return Annotated[str, BeforeValidator(lambda part: str(part) if isinstance(part, int | float) else part)]
    if origin is Annotated:
        return Annotated[(_careful(parts[0], limits, limited), *parts[1:])]
    if origin is tuple:
        items = tuple(part if part is ... else _careful(part, limits, limited, item=True) for part in parts)
        return Annotated[tuple[items], BeforeValidator(_listed)]
    if origin in (Union, types.UnionType):
        return functools.reduce(operator.or_, (_careful(part, limits, limited) for part in parts))
    return kind


def _whole(value: Any) -> Any:
    """An integer, also from text and from floats without a fraction such as 1e3."""
    if isinstance(value, bool):
        raise ValueError
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:  # a text such as 1e3
            value = float(value)
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError
        return int(value)
    return value


def _number(value: Any) -> Any:
    number = (
        math.nan if isinstance(value, bool) else float(value) if isinstance(value, str | int | float) else value
    )
    if isinstance(number, float) and math.isnan(number):
        raise ValueError
    return number


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _in_words(kind: Any) -> str:
    """What a value of that type is."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _in_words(parts[0])
    if origin in (Union, types.UnionType):
        return " or ".join(_in_words(part) for part in parts if part is not types.NoneType)
    if origin is tuple:
        many = {int: "whole numbers", float: "numbers"}.get(parts[0], "values")
        return f"{many} with commas between them"
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return words.get(kind, f"a value of type {getattr(kind, '__name__', kind)}")


def _limits(field: dataclasses.Field) -> dict[str, Any]:
    """The range of a field, as `method.option` has it."""
    return {name: field.metadata.get(name, usual) for name, usual in _LIMITS.items()}


def range_of(field: dataclasses.Field, most: float = math.inf) -> str:
    """The range of a method's field, in words; empty if it has none. most: what a number of its type can be."""
    limits = _limits(field)
    if limits == _LIMITS:
        return ""
    if limits["choices"]:
        return ", ".join(limits["choices"])
    low = f"({limits['above']:g}" if limits["above"] > limits["low"] else f"[{limits['low']:g}"
    high = "inf)" if limits["high"] == most == math.inf else f"{min(limits['high'], most):.10g}]"
    return f"{low}, {high}"
