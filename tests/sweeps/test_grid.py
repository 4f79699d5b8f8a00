"""Cells of a sweep: their names, what a dry run says of them, and data sets that are not at hand."""

from typer.testing import CliRunner

from poisoncli.cli import app
from poisoncli.sweeps.grid import differences
from poisoncli.sweeps.plan import parse


def test_names_that_become_alike_have_a_file_each():
    text = '[panel."lr 0.1"]\nseed = 1\n[panel."lr 0-1"]\nseed = 2\n[panel."lr 0 1"]\nseed = 3\n'
    cells = parse(text, "test").cells
    assert [cell.name for cell in cells] == [
        "lr-0-1-run",
        "lr-0-1-run-2",
        "lr-0-1-run-3",
    ]  # the first keeps its file
    assert [cell.run.seed for cell in cells] == [1, 2, 3]


def test_a_dry_run_says_in_what_the_runs_differ():
    lines = CliRunner().invoke(app, ["sweep", "--preset", "hlp-fig4", "--dry-run"]).stdout.splitlines()
    assert len({line.partition(":")[2] for line in lines}) == len(lines)
    assert "; n_val=100" in lines[0]
    assert "n_val=1000" in lines[3]
    plan = '[line.a]\nattack = { name = "rmd", outer_rate = 0.1 }\n[line.b]\nattack = { name = "rmd", batch = 7 }\n'
    assert differences(parse(plan, "test").cells) == [
        {"attack.outer_rate": 0.1, "attack.batch": 0},
        {"attack.outer_rate": 0.3, "attack.batch": 7},
    ]
