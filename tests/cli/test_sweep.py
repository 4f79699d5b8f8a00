"""poison sweep: presets and what a dry run says; data sets that are not at hand are skipped."""

import re

import pytest
from typer.testing import CliRunner

from poisoncli.cli import app
from poisoncli.sweeps.plan import preset, presets

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
    assert re.search(r"here-run\.[0-9a-f]{8}\.h5 done$", done)
    assert f"absent-run.h5 skipped: loan-processed.csv was not found: put it into {data}/loan" in skipped


def poison(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize("name", presets())
def test_every_preset_lists_its_runs_and_does_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = poison("sweep", "--preset", name, "--dry-run")
    assert result.exit_code == 0, result.output
    plan = preset(name)
    assert len(result.stdout.splitlines()) == len(plan.cells) >= 1
    assert len({cell.name for cell in plan.cells}) == len(plan.cells)
    assert not list(tmp_path.iterdir())


def test_the_list_of_presets_tells_their_titles():
    listed = poison("sweep", "--preset", "list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == presets()
    assert all(preset(line.split()[0]).title in line for line in listed[::7])


@pytest.mark.parametrize("words", [(), ("--preset", "hlp-fig2", "--config", "plan.toml")], ids=["neither", "both"])
def test_one_sweep_is_named(words):
    result = poison("sweep", *words)
    assert result.exit_code == 2
    assert "give either --preset NAME" in result.stderr


def test_a_run_that_fails_ends_the_sweep_with_1_when_the_others_are_done(tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text(
        """
        [base]
        attack = "flip"
        n_train = 40
        n_val = 20
        n_test = 20
        fraction = 0.2
        trainer = { name = "sgd", rate = 0.1, epochs = 20 }
        [line.diverges]
        lambda = 1e30
        attack = { name = "rmd", outer_steps = 2, inner_steps = 20, batch = 8 }
        [line.works]
        lambda = 0.1
        """
    )
    result = poison("sweep", "--config", plan, "--out", tmp_path / "out", "-q")
    assert result.exit_code == 1, result.output
    statuses = [line.split(".h5 ")[1].split(":")[0] for line in result.stdout.splitlines()]
    assert sorted(statuses) == ["done", "failed"]
