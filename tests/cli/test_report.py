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


def test_every_figure_of_a_sweep_is_named_and_none_replaced(run):
    """A figure for each run with defenses stands beside that of the sweep."""
    Path("plan.toml").write_text(
        'title = "flips"\ndefend = ["l2"]\n[base]\nattack = "flip"\nn_train = 40\nn_val = 20\nn_test = 20\n'
        "[line.one]\nfraction = 0.1\n"
    )
    done("sweep", "--config", "plan.toml", "--out", "out")
    assert done("report", "out", "-o", "all.png") == ["all.png", "one.png"]
    refused("report", "out", "-o", "other.png", says="one.png exists")
    assert done("report", "out", "-o", "all.png", "--force") == ["all.png", "one.png"]
    assert done("report", "out", "--draw", "defenses", "-o", "bars.png") == ["bars.png"]
