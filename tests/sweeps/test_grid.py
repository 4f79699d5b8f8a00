"""Presets and the verb `sweep`: every preset can be run, and a small one runs to its figure."""

import numpy as np
import pytest
from typer.testing import CliRunner

from poisoncli import Choice, PoisonError
from poisoncli.cli import app
from poisoncli.runs import description, replay, run_file
from poisoncli.sweeps import grid

SMALL = {"outer_steps": 3, "inner_steps": 10, "batch": 8}


def poison(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize("name", grid.presets())
def test_every_preset_describes_complete_runs(name):
    plan = grid.preset(name)
    assert plan.title
    for cell in plan.cells:
        assert description.from_json(description.to_json(cell.run)) == cell.run
        for kind in description.TABLES:
            assert description.build(getattr(cell.run, kind), kind)
    for defense in description.DEFENSES if "all" in plan.defend else plan.defend:
        assert description.resolve_defense(description.Choice(defense, plan.options.get(defense, {})))


def test_presets_of_stealth_take_the_papers_start_and_one_norm_for_the_batch():
    found = [
        cell.run.attack for name in grid.presets() if name.startswith("spr") for cell in grid.preset(name).cells
    ]
    assert {attack.options["start"] for attack in found} == {"copy"}
    assert {attack.options["gradient"] for attack in found} == {"batch"}


def tiny(name):
    """A preset of SPR with few rows and steps."""
    fields = ", ".join(f"{key} = {value}" for key, value in SMALL.items())
    changes = f'\n[override]\nn_train = 50\nattack = {{ name = "stealthy", {fields} }}\n'
    return (grid.PRESETS / f"{name}.toml").read_text(encoding="utf-8") + changes


@pytest.mark.parametrize("name", ["spr-fig3", pytest.param("spr-fig9", marks=pytest.mark.long), "spr-fig14"])
def test_a_preset_runs_to_its_figure_and_is_not_run_again(name, tmp_path):
    plan, folder = tmp_path / "plan.toml", tmp_path / "out"
    plan.write_text(tiny(name))
    result = poison("sweep", "--config", plan, "--out", folder, "-q")
    assert result.exit_code == 0, result.output
    cells = grid.load(plan).cells
    assert [line.split()[-1] for line in result.stdout.splitlines()] == ["done"] * len(cells)
    before = {path: path.read_bytes() for path in folder.glob("*.h5")}
    again = poison("sweep", "--config", plan, "--out", folder, "-q")
    assert [line.split()[-1] for line in again.stdout.splitlines()] == ["skipped"] * len(cells)
    assert {path: path.read_bytes() for path in folder.glob("*.h5")} == before
    drawn = poison("report", folder, "-q")
    assert drawn.exit_code == 0, drawn.output
    assert (folder / "figure.png").stat().st_size > 10_000


def test_options_of_a_defense_reach_it(tmp_path):
    plan = grid.parse(tiny("spr-fig14"), "here")
    grid.execute(plan, tmp_path)
    choice = description.choice_from_json(run_file.read(tmp_path / "10.h5").defenses["bayesclean"].choice)
    assert (choice.options["c1"], choice.options["c2"]) == (1.0, 2.0)


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
    plan = grid.parse(DEFENDERS, "here")
    assert [outcome.status for outcome in grid.execute(plan, tmp_path)] == ["done", "done"]
    assert [outcome.status for outcome in grid.execute(plan, tmp_path)] == ["skipped", "skipped"]
    _, panels = grid.contents(tmp_path)
    assert {panel: list(lines) for panel, lines in panels.items()} == {
        "lambda = 0.5": ["basic", "flips"], "logistic": ["basic", "flips"],
    }  # fmt: skip
    crafted = run_file.read(tmp_path / "basic.h5")
    wanted = replay.reevaluate(crafted, [description.resolve_defense(Choice("l2"))], loss="logistic")
    for name in ("none", "l2"):
        found = panels["logistic"]["basic"].evaluations[name].test_error
        np.testing.assert_array_equal(found, wanted.evaluations[name].test_error)
    assert poison("report", tmp_path, "-q").exit_code == 0
    with pytest.raises(PoisonError, match="defender"):
        grid.parse(DEFENDERS.replace('loss = "logistic"', "temper = 1"), "here")


def test_gains_are_drawn_as_a_grid_and_a_missing_run_leaves_a_gap(tmp_path):
    plan = grid.parse(GRID, "here")
    assert {outcome.status for outcome in grid.execute(plan, tmp_path)} == {"done"}
    (tmp_path / "two-flips.h5").unlink()
    result = poison("report", tmp_path, "-o", tmp_path / "gains.svg", "-q")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "gains.svg").read_text()
    for shown in ("one, all", "two, all", "one, flips"):
        assert f"<!-- {shown} -->" in text
    assert "<!-- two, flips -->" not in text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ('picture = "gain"', "no picture named 'pie'"),
        ('defend = ["trim", "bayesclean"]', "no defense to be tried named 'huber'"),
        ("n_train = 40", "has no option"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(change, says):
    other = {
        'picture = "gain"': 'picture = "pie"',
        'defend = ["trim", "bayesclean"]': 'defend = ["trim"]\n[defense.huber]\nepsilon = 2.0',
        "n_train = 40": "n_train = 40\n[defense.trim]\nstrength = 3",
    }[change]
    with pytest.raises(PoisonError, match=says):
        grid.parse(GRID.replace(change, other), "here")


def test_a_landscape_needs_one_feature(tmp_path):
    plan = grid.parse(GRID.replace('picture = "gain"', 'picture = "landscape"'), "here")
    grid.execute(plan, tmp_path)
    result = poison("report", tmp_path, "-q")
    assert result.exit_code == 2
    assert "one feature" in result.stderr


def test_the_way_of_a_point_leads_from_its_start_to_its_end(tmp_path):
    plan = grid.parse(tiny("spr-fig3"), "here")
    grid.execute(plan, tmp_path)
    poison, split = (lambda content: (content.poison, content.split))(run_file.read(tmp_path / "alpha-1-0.h5"))
    stages = len(poison.counts)
    assert poison.trail.shape == (1, stages, 3, 2)
    assert np.isnan(poison.trail[:, 0]).all()
    assert np.isfinite(poison.trail[:, 1:]).all()
    data = description.build(description.Choice("line", {"seed": 0}), "dataset").load()
    train = split["train"][0]
    x = (data.x[train, 0] - data.x[train, 0].mean()) / data.x[train, 0].std()
    for stage in range(1, stages):
        first = poison.counts[stage - 1]
        assert poison.trail[0, stage, 0, 0] == pytest.approx(x[poison.replaced[0, first]], abs=1e-4)
        step = np.linalg.norm(np.r_[poison.x[0, first], poison.y[0, first]] - poison.trail[0, stage, -1])
        assert step <= 0.9 + 1e-5


@pytest.mark.parametrize("name", [name for name in grid.presets() if name.startswith("ksl")])
def test_presets_of_the_paper_are_complete(name):
    plan = grid.preset(name)
    assert plan.title.startswith(f"KSL {'Table' if 'table' in name else 'Fig.'} {name.lstrip('ksl-figtabe')}:")
    assert {cell.run.model.name for cell in plan.cells} <= {"svm", "multisvm"}


def test_a_sweep_defends_and_draws_every_run(tmp_path):
    text = """
    title = "two"
    defend = ["trim", "bayesclean"]
    [base]
    dataset = "line"
    n_train = 40
    fraction = 0.2
    [line."alpha = 1"]
    attack = { name = "stealthy", outer_steps = 3, inner_steps = 10, batch = 8 }
    """
    plan, folder = grid.parse(text, "here"), tmp_path / "out"
    assert [outcome.status for outcome in grid.execute(plan, folder)] == ["done"]
    assert [outcome.status for outcome in grid.execute(plan, folder)] == ["skipped"]
    assert CliRunner().invoke(app, ["report", str(folder)]).exit_code == 0
    assert (folder / "alpha-1.png").stat().st_size > 10_000


def test_a_sweep_without_loans_file_skips_it_and_says_where_it_is_to_be_had(tmp_path):
    text = """
    [base]
    model = "linear"
    n_train = 40
    fraction = 0.2
    attack = { name = "stealthy", outer_steps = 2, inner_steps = 5, batch = 8 }
    [panel."Loan"]
    dataset = "loan"
    [panel."Line"]
    dataset = "line"
    """
    outcomes = grid.execute(grid.parse(text, "here"), tmp_path / "out", data_dir=str(tmp_path))
    assert [outcome.status for outcome in outcomes] == ["skipped", "done"]
    assert "loan-processed.csv" in outcomes[0].reason
    assert "Jagielski" in outcomes[0].reason
