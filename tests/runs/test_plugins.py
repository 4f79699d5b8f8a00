"""Methods from files outside the package: found, named, used by every verb; missed only where they are needed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from poisoncli.core.errors import PoisonError
from poisoncli.runs import plugins

DEFENSE = '''
"""A defense of one's own (2026)."""
import numpy as np
from poisoncli.core.defense import Verdict
from poisoncli.core.method import method, option

@method
class DropFirst:
    """Drops the first rows.

    rows: how many.
    """
    rows: int = option(2, low=1)

    def knows(self):
        return "nothing"

    def weigh(self, key, data, learner, clues):
        weight = np.ones(len(data.y), np.float32)
        weight[: self.rows] = 0
        return Verdict(weight, 1.0 - weight, {})
'''


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch):
    """Tables, and what was imported, are as before."""
    for table in plugins.TABLES.values():
        for name in list(table):
            monkeypatch.setitem(table, name, table[name])
    before, places = {kind: dict(table) for kind, table in plugins.TABLES.items()}, list(sys.path)
    monkeypatch.setattr(plugins, "_sources", {})
    modules = set(sys.modules)
    yield
    for kind, table in plugins.TABLES.items():
        table.clear()
        table.update(before[kind])
    sys.path[:] = places
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", None) and "/pytest-" in str(sys.modules[name].__file__):
            del sys.modules[name]


@pytest.fixture
def own(tmp_path: Path):
    """Writes a file of the user's."""

    def write(text: str, name: str = "own.py") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_methods_of_a_file_are_known_by_their_kinds_and_names(own) -> None:
    path = own(DEFENSE)
    assert plugins.load([path]) == [("defense", "drop-first")]
    assert plugins.load([path]) == [("defense", "drop-first")]  # again, nothing is taken
    assert plugins.sources({"defense": "drop-first", "model": "svm"}) == {"defense drop-first": "file own.py"}
    assert plugins.is_here("defense", "drop-first")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 / 0", "does not import .ZeroDivisionError"),
        ("x = 1", "defines no method: write a class with these functions .attack: craft; defense: weigh and knows"),
        (DEFENSE.replace("@method", ""), "class DropFirst .drop-first. is no method: put @method"),
        (DEFENSE.replace("rows: int", "name = 'l2'\n    rows: int"), "a name that poison itself has taken"),
    ],
)
def test_files_that_bring_nothing_are_refused(own, text: str, says: str) -> None:
    with pytest.raises(PoisonError, match=says):
        plugins.load([own(text, "bad.py")])


def test_a_missing_plug_in_is_named() -> None:
    known = {"attack shift": "file mine.py", "model net": "package extras 1.2"}
    plugins.require({"attack": "rmd", "model": "svm", "trainer": "odd"}, known)
    for kind, name, says in (
        ("attack", "shift", "from file mine.py, which is not here: bring it with --plugin mine.py"),
        ("model", "net", "from package extras 1.2, which is not here: bring it with `pip install` of extras 1.2"),
        ("defense", "far", "from a plug-in, which is not here: bring it with --plugin FILE.py"),
    ):
        with pytest.raises(PoisonError, match=says):
            plugins.require({kind: name}, known)
