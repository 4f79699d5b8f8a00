"""Methods: frozen dataclasses of hyperparameters, each field with its range."""

from __future__ import annotations

import dataclasses
import math
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
) -> Any:
    """A method's field with its range: low <= value <= high and value > above, or one of `choices`."""
    limits = {"low": low, "high": high, "above": above, "choices": choices}
    return dataclasses.field(default=default, metadata=limits)


@dataclass_transform(frozen_default=True, field_specifiers=(option,))
def method(cls: type[T]) -> type[T]:
    """Make `cls` a method: a frozen dataclass, and a JAX PyTree whose leaves are its float fields.

    New values of a float field do not retrace a jitted function, and `vmap` over one works; all other
    fields are static, those of type `Fixed` too.
    """
    frozen = dataclasses.dataclass(frozen=True)(cls)
    fields = dataclasses.fields(frozen)  # type: ignore[arg-type]
    leaves = [f.name for f in fields if f.type in ("float", float)]
    static = [f.name for f in fields if f.name not in leaves]
    return jax.tree_util.register_dataclass(frozen, data_fields=leaves, meta_fields=static)
