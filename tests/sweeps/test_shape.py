"""Entries of a sweep's TOML that it cannot have, or that are of another kind, are refused in a sentence."""

import pytest

from poisoncli.core.errors import PoisonError
from poisoncli.sweeps.plan import parse


@pytest.mark.parametrize(
    "text",
    [
        "panel = 5",
        'line = "x"',
        "override = []",
        "defense = []",
        "defend = 1",
        "draw = [1]",
        "draw = []",
        'draw = "norm"',
        'draw = ["norm+time"]',
        'draw = ["position+norm"]',
        "columns = inf",
        "columns = 100000",
        "columns = -1",
        'base = "digits"',
        "title = 5",
        "picture = []",
        "[panel]\na = 1",
        "[line]\na = []",
        "[panel.a]\nline = 3",
        "[panel.a.line]\nb = 3",
        "[panel.a]\nselected = 3",
        "[panel.a]\nselected = ['x']",
        "[panel.a]\nagainst = []",
        "[defense]\nl2 = 1",
        "[line.'']",
        f"[line.{'a' * 300}]",
        "a = " + "[" * 20_000,
        "[line.a]\ndataset = []",
        "[line.a]\nattack = {name = 'flip', x = {y = 1}}",
    ],
)
def test_entries_of_another_kind_are_refused(text):
    with pytest.raises(PoisonError, match=": ") as error:
        parse(text, "it")
    assert not str(error.value).endswith(": ")
