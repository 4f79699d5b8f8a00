"""poison datasets: the table, and as JSON."""

import pytest
from command import done, poison, refused, strict
from own_table import FRAME

pytestmark = pytest.mark.usefixtures("folder")


def test_datasets_lists_and_speaks_json():
    assert any("breast-cancer" in line for line in done("datasets"))
    listing = [strict(line) for line in done("datasets", "--json")]
    assert {"digits", "mnist", "file"} <= {row["name"] for row in listing}


def test_absent_data_folder_is_refused():
    refused("attack", "--dataset", "mnist", "--data-dir", "absent", says="no folder absent: create it")


def test_the_columns_of_a_file_are_shown_and_its_problems(folder):
    FRAME.to_csv("mine.csv", index=False)
    lines = done("datasets", "mine.csv", "--ignore", "note", "--column", "children=category")
    shown = {line.split()[0]: line for line in lines if line.split()}
    assert "left out: --ignore" in shown["note"]
    assert "one feature for each of 4 categories" in shown["children"]
    assert "20 missing become the median" in shown["age"]
    assert "left out: names the rows" in shown["id"]
    assert shown["1"].split() == ["1", "40", "66.7%"]
    first = strict(done("datasets", "mine.csv", "--json")[0])
    assert (first["name"], first["kind"]) == ("id", "identifier")
    wrong = poison("datasets", "mine.csv", "--target", "yy", "--ignore", "agee")
    assert wrong.exit_code == 2
    assert "mine.csv has 2 problems" in wrong.stderr
    assert "could be 'age'" in wrong.stderr
    refused("datasets", "--ignore", "age", says="only with a file of your own")
