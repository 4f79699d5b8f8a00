"""Every option that counts something, asked for more than there is room or time for.

What is no allocation but long work goes on until it is interrupted, which must end it at once.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator

from fuzz import arguments, templates
from fuzz.case import Case
from fuzz.templates import SHORT, SIZES, Templates

LARGE = (2**31 - 1, 10**6)
BEYOND = ("100000000000000000000", "1e308", "-100000000000000000000", "inf", "nan")
AFTER = 4.0  # seconds until the interruption
_SEARCH = ("--dataset", "breast-cancer", *SIZES[:6], "--fraction", "0.2", "--lambda", "0.1")
_ATTACKS = {  # what an attack is tried on, if not on the digits
    "statp": ("--dataset", "diabetes", *SIZES),
    "stealthy": ("--dataset", "line", *SIZES),
    **dict.fromkeys(("kkt", "minmax", "minmax-basic", "influence", "influence-basic", "alfa"), _SEARCH),
}
_AT_HAND = ("digits", "breast-cancer", "gaussians", "line")
_MODELS = {
    "mlp": ("--method", "rmd", *SIZES, *SHORT),
    "svm": ("--method", "kkt", *_SEARCH),
    "multisvm": ("--method", "minmax", "--dataset", "digits", "--classes", "0,1,2", *SIZES, "--lambda", "0.1"),
}


def options() -> Iterator[tuple[str, str, str]]:
    """Kind, method and option, for all options that are whole numbers or lists of them."""
    from poisoncli.runs.description import METHODS

    every = {(kind, made): name for kind, table in METHODS.items() for name, made in table.items()}
    for kind, table in METHODS.items():
        for name, made in table.items():
            if every[kind, made] != name or (kind == "dataset" and name not in _AT_HAND):
                continue
            hints = typing.get_type_hints(made)
            for field in dataclasses.fields(made):
                if hints[field.name] is int or int in typing.get_args(hints[field.name]):
                    yield kind, name, field.name


def command(kind: str, name: str, field: str, value: object) -> tuple[str, ...]:
    """A command line that uses the option."""
    if kind == "attack":
        return ("attack", "--method", name, *_ATTACKS.get(name, SIZES), "-o", f"{field}={value}", "--out", "o.h5")
    if kind == "defense":
        return ("defend", "line.h5" if _of_real(name) else "flip.h5", "-d", name, "-o", f"{field}={value}")
    asked = ("-o", f"{kind}.{field}={value}", "--out", "o.h5")
    if kind == "model":
        passes = ("-o", "model.passes=0") if name == "multisvm" and field != "passes" else ()
        return ("attack", "--model", name, *_MODELS.get(name, ("--method", "flip", *SIZES)), *passes, *asked)
    if kind == "trainer":
        return ("attack", *SIZES, *SHORT, "--lambda", "clean", "--trainer", name, *asked)
    return ("attack", "--dataset", name, "--method", "flip", *SIZES, *asked)


def _of_real(defense: str) -> bool:
    from poisoncli.runs import defaults

    return defense not in defaults.all_defenses("binary")


def flag_command(verb: str, flag: str, value: object) -> tuple[str, ...]:
    """A command line of the verb with the option."""
    before = {
        "attack": ("--method", "flip", *SIZES, "--out", "o.h5"),
        "audit": ("digits", "--method", "flip", *SIZES, "-d", "l2"),
        "export": ("flip.h5", "o.csv"),
        "defend": ("flip.h5", "-d", "l2", "--export", "o.csv"),
        "evaluate": ("--dataset", "own.csv", "--poison", "own.csv"),
        "sweep": ("--preset", "hlp-fig2", "--dry-run"),
    }
    return (verb, *before.get(verb, ("flip.h5",)), flag, str(value))


def cases(made: Templates) -> list[Case]:
    """All of them, with values that are accepted but too large, and with such as no whole number can have."""
    files = {**made.run("flip"), **made.run("line"), "own.csv": templates.csv()}
    commands = [
        command(*option, value) for option in options() for value in (*LARGE, BEYOND[len(option[2]) % len(BEYOND)])
    ]
    commands += [
        flag_command(*flag, value) for flag in arguments.verbs_with_counts() for value in (*LARGE, *BEYOND)
    ]
    return [Case("large counts", args, files, signal="SIGINT", after=AFTER) for args in commands]
