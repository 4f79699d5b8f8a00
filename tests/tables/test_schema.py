"""Kinds of columns: inferred from their cells, and their cells as numbers and back."""

import pandas as pd
import pytest
from own_table import FRAME, KINDS

from poisoncli.datasets.file import File
from poisoncli.tables.schema import from_numbers, infer, kinds_asked, to_codes, to_numbers


@pytest.fixture
def path(tmp_path):
    FRAME.to_csv(tmp_path / "rows.csv", index=False)
    return str(tmp_path / "rows.csv")


def test_kinds_follow_from_the_cells(path):
    found = File(path).inspect()
    assert {column.name: column.kind for column in found.columns} == KINDS
    assert found.used == ("age", "children", "vip", "city", "since", "note")
    assert {column.name: column.missing for column in found.columns}["city"] == 12
    assert found.problems == []


def test_cells_become_numbers_and_come_back():
    problems = []
    columns = {column.name: column for column in infer(FRAME, {}, problems, str)}
    assert problems == []
    for name in ("children", "vip", "since"):
        back = from_numbers(to_numbers(FRAME[name], columns[name]), columns[name])
        assert back.tolist() == FRAME[name].tolist()
    days = to_numbers(FRAME["since"], columns["since"])
    assert days[1] - days[0] == 670  # days from 2020-01-31 to 2021-12-01
    codes = to_codes(FRAME["city"], columns["city"])
    assert columns["city"].values == ("Bonn", "Oslo", "Rome")
    assert codes[:5].tolist() == [2, 0, 3, 1, 2]  # the missing one behind the last


def test_dates_with_several_offsets_are_those_of_one_zone():
    cells = pd.Series(["2020-01-01 12:00:00+0000", "2020-01-01 14:00:00+0200", "2020-01-02 00:00:00-0100"])
    (column,) = infer(cells.to_frame("when"), {}, [], str)
    numbers = to_numbers(cells, column)
    assert column.kind == "date"
    assert numbers - numbers[0] == pytest.approx([0, 0, 13 * 3600])
    assert from_numbers(numbers, column)[1] == "2020-01-01 12:00:00+0000"


def test_a_kind_that_does_not_exist_is_said_with_those_that_do():
    problems = []
    assert kinds_asked(["age=number", "age=colour", "agee=number"], ["age"], problems) == {"age": "number"}
    assert "names no kind: write --column name=kind, with number" in problems[0]
    assert "no column 'agee': --column could be 'age'" in problems[1]
