"""CSV files as people have them."""

import pandas as pd
import pytest
from own_table import FRAME

from poisoncli.datasets.file import File


@pytest.mark.parametrize("form", ["semicolons", "tabs", "gzip", "BOM", "CRLF"])
def test_csv_as_people_have_it(tmp_path, form):
    frame = FRAME[["age", "children", "y"]]
    path = tmp_path / ("rows.csv.gz" if form == "gzip" else "rows.csv")
    written = {
        "sep": {"semicolons": ";", "tabs": "\t"}.get(form, ","),
        "decimal": "," if form == "semicolons" else ".",
    }
    encoding = "utf-8-sig" if form == "BOM" else "utf-8"
    frame.to_csv(path, index=False, encoding=encoding, lineterminator="\r\n" if form == "CRLF" else "\n", **written)
    found = File(str(path)).load().table.frame
    pd.testing.assert_frame_equal(found, frame)
