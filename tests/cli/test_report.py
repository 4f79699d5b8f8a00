"""poison report: figures in every format."""

from pathlib import Path

import pytest
from command import done, refused

from poisoncli.runs import run_file

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.parametrize("name", ["out.png", "out.pdf", "out.svg", None])
def test_report_draws(run, name):
    expected = name or "run.png"
    assert done("report", run, *(("--out", name) if name else ())) == [expected]
    magic = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}[Path(expected).suffix]
    assert Path(expected).read_bytes().startswith(magic)


def test_report_evaluates_where_needed(plain):
    done("report", plain, "-o", "out.svg")
    assert run_file.read(plain).evaluations


def test_unknown_figure_format_is_refused_before_any_work(plain):
    refused("report", plain, "-o", "out.doc", says="no format that can be drawn")
