"""Which entries the TOML of a sweep may have, and of which kind each is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from poisoncli.core.errors import PoisonError
from poisoncli.reports.figures import MOST_COLUMNS

Table = dict[str, Any]


class _Panel(BaseModel):
    """A panel: what the layout takes, changes for single lines, and fields of a run."""

    model_config = ConfigDict(strict=True, extra="allow")

    selected: list[Annotated[int, Field(ge=1)]] = []
    against: str = ""
    line: dict[str, Table] = {}


class _Line(BaseModel):
    """A line: fields of a run."""

    model_config = ConfigDict(strict=True, extra="allow")


class _Defender(BaseModel):
    """Where a defender's victim differs from the one that the attacker expects, see `replay.reevaluate`."""

    model_config = ConfigDict(strict=True, extra="forbid", populate_by_name=True)

    lambda_: float | None = Field(None, alias="lambda", gt=0)
    loss: str = ""
    passes: int | None = None
    bias: str = ""


class _Sweep(BaseModel):
    """See `plan.parse`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    title: str = ""
    draw: list[str] = []
    columns: int = Field(0, ge=0, le=MOST_COLUMNS)
    picture: str = ""
    defend: list[str] = []
    defense: dict[str, Table] = {}
    defender: dict[str, _Defender] = {}
    base: Table = {}
    panel: dict[str, _Panel] = {}
    line: dict[str, _Line] = {}
    grid: Table = {}
    override: Table = {}


def check(plan: Mapping[str, Any], source: str) -> None:
    """Raise `PoisonError` where an entry is unknown, or of another kind than it must be."""
    try:
        _Sweep.model_validate(plan)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise PoisonError(
                f"{source} has the unknown entry {name!r}: use {', '.join(_Sweep.model_fields)}"
            ) from None
        shown = repr(first["input"])
        said = first["msg"][:1].lower() + first["msg"][1:].replace("dictionary", "table").replace("string", "text")
        raise PoisonError(f"{source}: {name} is {shown[:60]}, and its {said}") from None
