"""docs/architecture.md shows the rooms as they are, names what exists, and its defense works as it stands there."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from test_contract import test_a_defense_weighs_every_row_by_its_key_alone as check_contract
from test_contract import test_a_method_is_a_frozen_dataclass_with_documented_fields as check_fields
from test_contract import test_a_method_names_its_source as check_source
from test_layers import FLOORS, METHODS
from test_layers import test_methods_import_no_sibling as check_siblings
from typer.testing import CliRunner

from poisoncli.cli import app
from poisoncli.core.data import Data
from poisoncli.core.defense import Clues
from poisoncli.defenses import DEFENSES
from poisoncli.runs import run_file

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The page's only block of code in a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
    return found


@pytest.fixture
def median(tmp_path, monkeypatch):
    """The page's defense, in the table."""
    path = tmp_path / "median.py"
    path.write_text(block("python"))
    name = "poisoncli.defenses.median"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    monkeypatch.setitem(DEFENSES, "median", module.Median)
    return module.Median


def poison(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.stdout


def steps(floors: list[set[str]]) -> set[tuple[str, str]]:
    """Each room with each room of the next floor."""
    return {pair for high, low in itertools.pairwise(floors) for pair in itertools.product(high, low)}


def test_the_picture_is_that_of_the_layers():
    lines = [line.split("-->") for line in block("mermaid").splitlines() if "-->" in line]
    drawn = [steps([set(re.findall(r"\w+", side)) for side in line]) for line in lines]
    assert set().union(*drawn) == steps([set(floor) for floor in reversed(FLOORS)])


def test_files_and_functions_that_the_page_names_exist():
    for file in re.findall(r"`((?:poisoncli|tests)?/?[\w/]+/\w+\.py)", PAGE):
        if not re.search(r"NAME|ROOM|median", file):
            assert (ROOT / file).is_file() or (ROOT / "poisoncli" / file).is_file(), file
    for file, names in re.findall(r"`(\w+/\w+\.py): (.*?) \|", PAGE):
        text = "".join(path.read_text() for path in (ROOT / "poisoncli").glob(file.replace("NAME", "*")))
        for name in re.findall(r"\w+", names):
            assert f"def {name}(" in text, (file, name)


def test_the_defense_of_the_page_fits_the_house(median, tmp_path):
    check_fields("defense", "median")
    check_source("defense", "median")
    check_contract("median")
    assert METHODS == ("attacks", "defenses", "models", "datasets")
    (tmp_path / "defenses").mkdir()
    (tmp_path / "median.py").rename(tmp_path / "defenses" / "median.py")
    check_siblings(tmp_path / "defenses" / "median.py")


def test_the_defense_of_the_page_drops_the_rows_farthest_from_the_median(median):
    x = np.array([[0.0], [1], [2], [90], [5], [6], [7], [7]])
    y = np.array([0.0, 0, 0, 0, 1, 1, 1, 1])
    learner = dataclasses.make_dataclass("Learner", ["task"])("binary")
    data = Data(x, y, np.ones(8))
    verdict = median(remove=0.25).weigh(None, data, learner, Clues(data, np.nan))
    np.testing.assert_array_equal(verdict.score, [1.5, 0.5, 0.5, 88.5, 1.5, 0.5, 0.5, 0.5])
    np.testing.assert_array_equal(verdict.weight, [1, 1, 1, 0, 0, 1, 1, 1])


def test_the_defense_of_the_page_runs(median, tmp_path):
    small = ("--method", "flip", "--n-train", "80", "--n-val", "20", "--n-test", "40", "--fraction", "0.2")
    path = tmp_path / "run.h5"
    poison("attack", *small, "--out", path, "-q")
    poison("defend", path, "--defense", "median", "-o", "remove=0.1", "-q")
    rows = json.loads(poison("evaluate", path, "--json", "-q"))["rows"]
    assert {row["defense"] for row in rows} == {"none", "median"}
    assert all(0 <= row["test_error"] <= 1 for row in rows)
    defended = run_file.read(path).defenses["median"]
    assert defended.knows == "nothing"
    assert np.all((defended.weight == 0).sum(-1) == 8)
