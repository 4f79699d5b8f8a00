"""What several verbs read from their options in the same way: data sets, and defenses with their options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poisoncli.runs.description import Choice
    from poisoncli.training.own_models import Victim


def dataset(
    name: str,
    target: str | None,
    classes: str | None,
    column: Sequence[str] | None = None,
    ignore: str | None = None,
) -> Choice:
    """The data set that `--dataset` names, with what other options say of its columns and classes."""
    from poisoncli.runs import description

    choice = description.named("dataset", name)
    said = {"target": target, "classes": classes, "column": column or None, "ignore": ignore}
    given = {key: value for key, value in said.items() if value is not None}
    return description.Choice(choice.name, {**choice.options, **given})


def defenses(
    names: Sequence[str], options: Sequence[str], real: bool, kept: Mapping[str, Choice] | None = None
) -> list[Choice]:
    """The defenses that `--defense` and `-o` name, resolved; `all` are those that fit the targets.

    An option without a defense's name goes to all of them that have it. kept: defenses of the run file, whose
    options hold where `-o` gives none. Raises `PoisonError` if an option belongs to none of them.
    """
    from poisoncli.core.errors import PoisonError
    from poisoncli.runs import description

    wanted = description.defenses(names, real)
    for name in wanted:
        description.known(name, description.DEFENSES, "defense")
    given: dict[str, dict[str, str]] = {name: {} for name in wanted}
    for text in options:
        key, equals, value = text.partition("=")
        name, dot, field = key.strip().rpartition(".")
        if not equals:
            raise PoisonError(f"-o {text} sets nothing: write -o name=value")
        if not wanted:
            raise PoisonError(f"-o {text} is an option of a defense: name it with --defense")
        if dot and name not in given:
            raise PoisonError(f"-o {text} is for the defense {name!r}: add --defense {name}")
        takers = [name] if dot else [one for one in wanted if field in description.option_names("defense", one)]
        for one in takers or wanted[:1]:  # where none has the option, the first says what it takes
            given[one][field] = value
    return [
        kept[name]
        if kept and name in kept and not fields
        else description.resolve_defense(description.Choice(name, fields))
        for name, fields in given.items()
    ]


def victims(named: Sequence[str], options: Sequence[str]) -> tuple[list[Victim], list[str]]:
    """The models of the user's own that `--victim` and `-o` name, and the options that are for others.

    `victim.NAME=VALUE` goes to all of them that have it, `pipeline.NAME=VALUE` to the one of that name.
    """
    from poisoncli.core.errors import PoisonError
    from poisoncli.training import own_models

    wanted = [own_models.Victim(source) for source in dict.fromkeys(named)]
    given: list[dict[str, object]] = [{} for _ in wanted]
    rest = []
    for text in options:
        key, equals, value = text.partition("=")
        name, _, field = key.strip().partition(".")
        takers = [number for number, one in enumerate(wanted) if name in ("victim", one.name)]
        if name == "victim" and not wanted:
            raise PoisonError(f"-o {text} is an option of a victim: name it with --victim")
        if not takers:
            rest.append(text)
            continue
        if not equals:
            raise PoisonError(f"-o {text} sets nothing: write -o victim.NAME=VALUE")
        able = [number for number in takers if len(takers) == 1 or field in own_models.options_of(wanted[number])]
        for number in able or takers[:1]:  # where none has the option, the first says what it takes
            given[number][field] = _python(value)
    return [own_models.Victim(one.source, found) for one, found in zip(wanted, given, strict=True)], rest


def _python(text: str) -> object:
    """A value as Python writes it, or a text."""
    import ast

    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def method_help(kind: str, name: str) -> str:
    """A method's docstring, and its fields with defaults and ranges. kind: `attack` or `defense`."""
    import dataclasses
    import inspect

    from poisoncli.runs import description
    from poisoncli.runs.options import range_of

    description.known(name, description.METHODS[kind], kind)
    method = description.METHODS[kind][name]
    lines = [inspect.getdoc(method) or "", "", f"Options of {kind} {name}, set with -o name=value:"]
    for field in dataclasses.fields(method):
        limits = range_of(field)
        lines.append(f"  {field.name} = {field.default}" + (f"    in {limits}" if limits else ""))
    if kind == "attack":
        lines.append("The defaults for a data set and model of the papers are the papers' values.")
    return "\n".join(lines)
