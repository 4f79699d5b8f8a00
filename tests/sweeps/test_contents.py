"""What a sweep's folder holds, and the figures of that."""

import numpy as np
import pytest
from typer.testing import CliRunner

from poisoncli import Choice, PoisonError
from poisoncli.cli import app
from poisoncli.runs import description, replay, run_file
from poisoncli.sweeps.contents import contents
from poisoncli.sweeps.drive import execute
from poisoncli.sweeps.plan import parse


def poison(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


GRID = """
title = "gains"
picture = "gain"
defend = ["trim", "bayesclean"]
[base]
dataset = "diabetes"
n_train = 40
fraction = 0.2
[panel.one]
seed = 1
[panel.two]
seed = 2
[line.all]
attack = { name = "stealthy", outer_steps = 2, inner_steps = 5, batch = 8 }
[line.flips]
attack = "flip"
"""


DEFENDERS = """
defend = ["l2"]
draw = ["defenses"]
[base]
dataset = "breast-cancer"
model = "svm"
lambda = 0.05
n_train = 100
n_test = 100
[line.basic]
attack = { name = "minmax-basic", burn_in = 0.5 }
[line.flips]
attack = "alfa"
[defender."lambda = 0.5"]
lambda = 0.5
[defender.logistic]
loss = "logistic"
"""


def test_other_defenders_are_panels_of_the_figure(tmp_path):
    plan = parse(DEFENDERS, "here")
    assert [outcome.status for outcome in execute(plan, tmp_path)] == ["done", "done"]
    assert [outcome.status for outcome in execute(plan, tmp_path)] == ["skipped", "skipped"]
    _, panels = contents(tmp_path)
    assert {panel: list(lines) for panel, lines in panels.items()} == {
        "lambda = 0.5": ["basic", "flips"], "logistic": ["basic", "flips"],
    }  # fmt: skip
    crafted = run_file.read(next(path for path in tmp_path.glob("basic.*.h5") if "--" not in path.name))
    wanted = replay.reevaluate(crafted, [description.resolve_defense(Choice("l2"))], loss="logistic")
    for name in ("none", "l2"):
        found = panels["logistic"]["basic"].evaluations[name].test_error
        np.testing.assert_array_equal(found, wanted.evaluations[name].test_error)
    assert poison("report", tmp_path, "-q").exit_code == 0
    with pytest.raises(PoisonError, match="defender"):
        parse(DEFENDERS.replace('loss = "logistic"', "temper = 1"), "here")


@pytest.mark.long
def test_gains_are_drawn_as_a_grid_and_a_missing_run_leaves_a_gap(tmp_path):
    plan = parse(GRID, "here")
    assert {outcome.status for outcome in execute(plan, tmp_path)} == {"done"}
    next(tmp_path.glob("two-flips.*.h5")).unlink()
    result = poison("report", tmp_path, "-o", tmp_path / "gains.svg", "-q")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "gains.svg").read_text()
    for shown in ("one, all", "two, all", "one, flips"):
        assert f"<!-- {shown} -->" in text
    assert "<!-- two, flips -->" not in text


def test_a_landscape_needs_one_feature(tmp_path):
    plan = parse(GRID.replace('picture = "gain"', 'picture = "landscape"'), "here")
    execute(plan, tmp_path)
    result = poison("report", tmp_path, "-q")
    assert result.exit_code == 2
    assert "one feature" in result.stderr


def test_a_folder_without_a_sweep_is_refused_with_the_command_that_fills_it(tmp_path):
    with pytest.raises(PoisonError, match="holds no sweep: fill it with `poison sweep"):
        contents(tmp_path)
