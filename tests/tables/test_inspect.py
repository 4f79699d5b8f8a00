"""What a user's table is found to be, and all that is wrong with it at once."""

import numpy as np
import pytest
from own_table import FRAME

from poisoncli.core.errors import PoisonError
from poisoncli.datasets.file import File


@pytest.fixture
def path(tmp_path):
    FRAME.to_csv(tmp_path / "rows.csv", index=False)
    return str(tmp_path / "rows.csv")


def test_kinds_can_be_said(path):
    said = ("children=category", "code=category", "vip=category")
    found = File(path, column=said, ignore=("note", "since")).inspect()
    kinds = {column.name: column.kind for column in found.columns if column.name in found.used}
    assert kinds == {
        "age": "number",
        "children": "category",
        "vip": "category",
        "city": "category",
        "code": "category",
    }


def test_all_problems_are_told_at_once(tmp_path):
    frame = FRAME.assign(age=["?", "old", *FRAME["age"][2:]], inf=[np.inf, *range(59)])
    frame.to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(PoisonError) as error:
        File(str(tmp_path / "bad.csv"), "yy", column=("citi=category",), ignore=("nope",)).load()
    text = str(error.value)
    assert "has 5 problems" in text
    assert "no column 'yy': --target could be 'y'" in text
    assert "no column 'citi': --column could be 'city'" in text
    assert "no column 'nope': --ignore could be 'note'" in text
    assert "'age' is a number but for 1 cells, the first 'old' in data row 2" in text
    assert "'inf' is infinite or too large for float32 in data row 1" in text
