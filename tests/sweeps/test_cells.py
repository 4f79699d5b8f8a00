"""Cells of a sweep: their names, what a dry run says of them, and data sets that are not at hand."""

from typer.testing import CliRunner

from poisoncli.cli import app
from poisoncli.sweeps import grid

ABSENT = """
[base]
model = "linear"
attack = "flip"
n_train = 40
n_val = 20
n_test = 20
fraction = 0.2
[panel.here]
dataset = "diabetes"
[panel.absent]
dataset = "loan"
"""


def test_a_data_set_that_is_not_at_hand_is_skipped_and_said(tmp_path):
    plan, data = tmp_path / "plan.toml", tmp_path / "data"
    data.mkdir()
    plan.write_text(ABSENT)
    words = ["sweep", "--config", str(plan), "--out", str(tmp_path / "out"), "--data-dir", str(data), "-q"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    done, skipped = result.stdout.splitlines()
    assert done.endswith("here-run.h5 done")
    assert f"absent-run.h5 skipped: loan-processed.csv was not found: put it into {data}/loan" in skipped


def test_names_that_become_alike_have_a_file_each():
    text = '[panel."lr 0.1"]\nseed = 1\n[panel."lr 0-1"]\nseed = 2\n[panel."lr 0 1"]\nseed = 3\n'
    cells = grid.parse(text, "test").cells
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
    assert grid.differences(grid.parse(plan, "test").cells) == [
        {"attack.outer_rate": 0.1, "attack.batch": 0},
        {"attack.outer_rate": 0.3, "attack.batch": 7},
    ]
