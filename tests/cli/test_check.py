"""poison check: a line for each point of the contract, for the examples of the pages and for what breaks it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from poisoncli.cli import app
from poisoncli.runs import plugins

PAGES = Path(__file__).parents[2] / "docs" / "plugins"
KINDS = ("attack", "defense", "model", "dataset")


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch):
    """Tables and paths are as before."""
    before, places = {kind: dict(table) for kind, table in plugins.TABLES.items()}, list(sys.path)
    monkeypatch.setattr(plugins, "_sources", {})
    yield
    for kind, table in plugins.TABLES.items():
        table.clear()
        table.update(before[kind])
    sys.path[:] = places


@pytest.fixture
def own(tmp_path: Path):
    """Writes a file of the user's."""

    def write(text: str, name: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def check(*words: object, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["check", *map(str, words)])
    assert result.exit_code == status, result.output
    return result.stdout


def example(kind: str) -> str:
    """The page's only block of Python."""
    (found,) = re.findall(r"```python\n(.*?)```", (PAGES / f"{kind}.md").read_text(encoding="utf-8"), re.S)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_examples_of_the_pages_keep_the_contract(own, kind: str) -> None:
    assert len(example(kind).splitlines()) <= 35
    lines = check(own(example(kind), f"own_{kind}.py")).splitlines()
    assert len(lines) == 3 + {"attack": 5, "defense": 1, "model": 1, "dataset": 2}[kind]
    assert all(line.startswith(f"ok     {kind} ") for line in lines)


def test_what_breaks_the_contract_ends_with_status_1(own) -> None:
    path = own(example("defense").replace("return Verdict(weight,", "return Verdict(weight[:-1] + 1,"), "wrong.py")
    out = check(path, status=1)
    assert (
        "FAILED defense far-rows weighs every row, by its key alone: weight has shape (39,), and not (40,)" in out
    )
    undocumented = own(
        example("defense").replace("remove: share", "Share").replace("class FarRows", "class Bare"), "bare.py"
    )
    found = [json.loads(line) for line in check(undocumented, "--json", status=1).splitlines()]
    breaches = [point["breach"] for point in found if point["breach"]]
    assert breaches == ["its docstring lacks a line for remove: write `name: what it is`"]
