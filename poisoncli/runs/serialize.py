"""A run as JSON in its file, and as TOML on disk; by this version or an older one."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from collections.abc import Mapping
from typing import Any

from poisoncli.attacks import ATTACKS
from poisoncli.core.errors import PoisonError
from poisoncli.runs import defaults, description, plugins
from poisoncli.runs.description import RELATIVE, TABLES, Choice, Run
from poisoncli.runs.options import read_value
from poisoncli.tables.text import read_text


def to_json(run: Run) -> str:
    """`run` as JSON; `from_json` gives it back."""
    fields = dataclasses.asdict(run)
    for kind in TABLES:
        fields[kind] = {"name": fields[kind]["name"], **fields[kind]["options"]}
    fields["lambda"] = fields.pop("lambda_")
    for name in (*RELATIVE, "ranges", "at_optimum"):  # which most runs have not
        if not fields[name]:
            del fields[name]
    return json.dumps(_strict(fields), allow_nan=False)


def choice_to_json(choice: Choice) -> str:
    """A method with its options as JSON."""
    return json.dumps(_strict({"name": choice.name, **choice.options}), allow_nan=False)


def _strict(value: Any) -> Any:
    """`value` with the numbers that JSON has no word for as texts, `inf` and `-inf`, which `read_value` reads."""
    if isinstance(value, Mapping):
        return {name: _strict(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def choice_from_json(text: str) -> Choice:
    """The resolved defense that `text` describes."""
    return description.resolve_defense(_choice("defense", json.loads(text)))


def from_json(text: str) -> Run:
    """The resolved run that `text` describes, by this version or an older one.

    Where the code of one of its methods is not at hand, the run is as it stands there: all was filled in. None is
    imported. Raises `PoisonError` if it does not describe one.
    """
    try:
        return read_back(from_mapping(_as_it_was(json.loads(text))))
    except (json.JSONDecodeError, RecursionError):
        raise PoisonError("the run's description is not JSON: the file was not written by poison") from None


def read_back(run: Run) -> Run:
    """`resolve` for a run that was resolved before, by methods of which some may not be at hand."""
    if all(plugins.is_here(kind, name) for kind, name in methods(run).items() if name):
        return description.resolved(run)
    return dataclasses.replace(run, **{kind: _as_written(getattr(run, kind)) for kind in TABLES})


def _as_written(choice: Choice) -> Choice:
    """A method with lists as tuples, as options have them."""
    options = choice.options.items()
    return Choice(choice.name, {name: tuple(item) if isinstance(item, list) else item for name, item in options})


def methods(run: Run) -> dict[str, str]:
    """The names of a run's methods, by kind."""
    return {kind: getattr(run, kind).name for kind in TABLES}


def _as_it_was(fields: Any) -> Any:
    """`fields` with what held when they were written, where an option has come since then."""
    attack = fields.get("attack") if isinstance(fields, Mapping) else None
    if not isinstance(attack, Mapping) or str(attack.get("name")) not in ATTACKS or not fields.get("learn_lambda"):
        return fields
    return {**fields, "attack": {**defaults.attack(str(attack["name"])).before, **attack}}


def same(one: str, other: str) -> bool:
    """Whether two descriptions (JSON), of a run or of several, mean the same, whichever version wrote them."""
    described = [json.loads(text) for text in (one, other)]
    first, second = (
        [from_json(str(run)) for run in each] if isinstance(each, list) else [from_json(json.dumps(each))]
        for each in described
    )
    return first == second


def from_toml(path: str) -> Run:
    """The run that a TOML file describes, unresolved. Raises `PoisonError` if it does not describe one."""
    try:
        return from_mapping(tomllib.loads(read_text(path)))
    except OSError as error:
        raise PoisonError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PoisonError(f"{path} is not TOML: {error}") from None


def from_mapping(fields: Mapping[str, Any]) -> Run:
    """A run from nested mappings, as JSON and TOML give them; a method is a name or a table with a `name`."""
    if not isinstance(fields, Mapping):
        raise PoisonError("a run is described by names and values: give name = value pairs")
    values = {("lambda_" if name == "lambda" else name): value for name, value in fields.items()}
    names = [f.name for f in dataclasses.fields(Run)]
    for name, value in values.items():
        if name not in names:
            listed = ", ".join(n.rstrip("_") for n in names)
            raise PoisonError(f"a run has no field {name!r}: it has {listed}")
        if name in TABLES:
            values[name] = _choice(name, value)
        else:
            values[name] = read_value(f"option {name.rstrip('_')}", Run, name, value)
    return Run(**values)


def _choice(kind: str, value: Any) -> Choice:
    if isinstance(value, str):
        return Choice(value)
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise PoisonError(f'{kind} is {value!r}: give a name, or a table with name = "..." and its options')
    return Choice(value["name"], {k: v for k, v in value.items() if k != "name"})
