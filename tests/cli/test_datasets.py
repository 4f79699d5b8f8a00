"""poison datasets: the table, and as JSON."""

import pytest
from command import done, refused, strict

pytestmark = pytest.mark.usefixtures("folder")


def test_datasets_lists_and_speaks_json():
    assert any("breast-cancer" in line for line in done("datasets"))
    listing = [strict(line) for line in done("datasets", "--json")]
    assert {"digits", "mnist", "file"} <= {row["name"] for row in listing}


def test_absent_data_folder_is_refused():
    refused("attack", "--dataset", "mnist", "--data-dir", "absent", says="no folder absent: create it")
