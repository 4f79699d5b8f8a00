"""Values of options: read exactly, and their ranges in words."""

import dataclasses
import math

import pytest

from poisoncli.attacks import ATTACKS
from poisoncli.core.errors import PoisonError
from poisoncli.core.method import method, option
from poisoncli.runs.description import (
    Choice,
    Run,
    resolve,
)
from poisoncli.runs.options import range_of, read_value


def test_text_of_a_list_makes_a_list():
    run = resolve(Run(Choice("digits", {"classes": "3,5"}), Choice("mlp", {"hidden": "8, 4"})))
    assert run.dataset.options["classes"] == (3, 5)
    assert run.model.options["hidden"] == (8, 4)


@pytest.mark.parametrize("attack", ATTACKS.values())
def test_ranges_are_told_in_words(attack):
    unlimited = {"low": -math.inf, "above": -math.inf, "high": math.inf, "choices": ()}
    for field in dataclasses.fields(attack):
        limited = any(field.metadata.get(name, value) != value for name, value in unlimited.items())
        assert (range_of(field) != "") == limited


@method
class Example:
    rate: float = option(0.5, above=0, high=1)
    steps: int = option(3, low=1)
    kind: str = option("a", choices=("a", "b"))
    rates: tuple[float, ...] = option((1.0,), above=0)
    warm: bool = False


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("rate", "0.25", 0.25),
        ("rate", 1, 1.0),
        ("steps", "1e3", 1000),
        ("steps", 4.0, 4),
        ("kind", "b", "b"),
        ("rates", "0.5, 2", (0.5, 2.0)),
        ("rates", [3], (3.0,)),
        ("warm", "true", True),
    ],
)
def test_texts_and_numbers_are_read_as_their_field(name, given, value):
    found = read_value(name, Example, name, given)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("rate", 0, r"rate is 0: it must lie in \(0, 1\]"),
        ("rate", "many", r"rate is 'many': give a number in \(0, 1\]"),
        ("rate", "nan", "rate is 'nan': give a number"),
        ("rate", True, "rate is 'True': give a number"),
        ("steps", 0, r"steps is 0: it must lie in \[1, 2147483647\]"),
        ("steps", 2.5, r"steps is '2\.5': give a whole number"),
        ("steps", 2**31, "steps is 2147483648: it must be at most 2147483647"),
        ("kind", "c", "kind is 'c': choose one of a, b"),
        ("rates", "1,-1", r"it must lie in \(0, inf\)"),
        ("warm", "perhaps", "warm is 'perhaps': give true or false"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_does(name, given, says):
    with pytest.raises(PoisonError, match=says):
        read_value(name, Example, name, given)


def test_ranges_of_an_example():
    ranges = {field.name: range_of(field) for field in dataclasses.fields(Example)}
    assert ranges == {"rate": "(0, 1]", "steps": "[1, inf)", "kind": "a, b", "rates": "(0, inf)", "warm": ""}
