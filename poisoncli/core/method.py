"""Methods: frozen dataclasses of hyperparameters, each field with its range."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math
import re
import textwrap
from typing import Annotated, Any, TypeVar, dataclass_transform

import jax

Fixed = Annotated[
    float, "known to compiled code"
]  # a method's float that is not a leaf of its PyTree, see `method`
T = TypeVar("T")


def option(
    default: Any,
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
    choices: tuple = (),
    doc: str = "",
) -> Any:
    """A method's field with its range: low <= value <= high and value > above, or one of `choices`.

    doc: what it is, for an option that several methods share; `method` adds it to docstrings that do not say it.
    """
    told = {"low": low, "high": high, "above": above, "choices": choices, "doc": doc}
    return dataclasses.field(default=default, metadata=told)


@dataclass_transform(frozen_default=True, field_specifiers=(option,))
def method(cls: type[T]) -> type[T]:
    """Make `cls` a method: a frozen dataclass, and a JAX PyTree whose leaves are its float fields.

    New values of a float field do not retrace a jitted function, and `vmap` over one works; all other
    fields are static, those of type `Fixed` too.
    """
    for name, value in list(vars(cls).items()):
        if isinstance(value, dataclasses.Field):  # `dataclass` writes the name into it, and methods may share it
            setattr(cls, name, copy.copy(value))
    frozen = dataclasses.dataclass(frozen=True)(cls)
    fields = dataclasses.fields(frozen)  # type: ignore[arg-type]
    leaves = [f.name for f in fields if f.type in ("float", float)]
    static = [f.name for f in fields if f.name not in leaves]
    frozen.__doc__ = _documented(frozen, fields)
    _register(frozen, leaves, static)
    return frozen


def _register(made: type, leaves: list[str], static: list[str]) -> None:
    """Make `made` a PyTree. Its type is in the structure: JAX takes dataclasses of equal fields for one."""

    def parts(one: Any) -> tuple[tuple, tuple]:
        return tuple(getattr(one, name) for name in leaves), (made, *(getattr(one, name) for name in static))

    def with_keys(one: Any) -> tuple[tuple, tuple]:
        values, rest = parts(one)
        return tuple(
            (jax.tree_util.GetAttrKey(name), leaf) for name, leaf in zip(leaves, values, strict=True)
        ), rest

    def again(rest: tuple, values: Any) -> Any:
        return made(**dict(zip(leaves, values, strict=True)), **dict(zip(static, rest[1:], strict=True)))

    jax.tree_util.register_pytree_with_keys(made, with_keys, again, parts)


def _documented(made: type, fields: tuple[dataclasses.Field, ...]) -> str:
    """The docstring of a method, with the lines of the options that it leaves to `option(doc=...)`."""
    text = inspect.cleandoc(made.__doc__ or "")
    told = {name.strip() for names in re.findall(r"^([\w, ]+): ", text, re.M) for name in names.split(",")}
    lines = [
        textwrap.fill(f"{field.name}: {field.metadata['doc']}", 115, subsequent_indent="    ")
        for field in fields
        if field.metadata.get("doc") and field.name not in told
    ]
    gap = "\n" if told.intersection(field.name for field in fields) else "\n\n"
    return gap.join([text, "\n".join(lines)]) if lines else text
