"""A small sweep runs to its figure; what is finished is not run again."""

import numpy as np
import pytest
from typer.testing import CliRunner

from poisoncli.cli import app
from poisoncli.runs import description, run_file
from poisoncli.sweeps.drive import execute
from poisoncli.sweeps.plan import PRESETS, load, parse

SMALL = {"outer_steps": 3, "inner_steps": 10, "batch": 8}


def poison(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def tiny(name):
    """A preset of SPR with few rows and steps."""
    fields = ", ".join(f"{key} = {value}" for key, value in SMALL.items())
    changes = f'\n[override]\nn_train = 50\nattack = {{ name = "stealthy", {fields} }}\n'
    return (PRESETS / f"{name}.toml").read_text(encoding="utf-8") + changes


@pytest.mark.parametrize("name", ["spr-fig3", pytest.param("spr-fig9", marks=pytest.mark.long), "spr-fig14"])
def test_a_preset_runs_to_its_figure_and_is_not_run_again(name, tmp_path):
    plan, folder = tmp_path / "plan.toml", tmp_path / "out"
    plan.write_text(tiny(name))
    result = poison("sweep", "--config", plan, "--out", folder, "-q")
    assert result.exit_code == 0, result.output
    cells = load(plan).cells
    assert [line.split()[-1] for line in result.stdout.splitlines()] == ["done"] * len(cells)
    before = {path: path.read_bytes() for path in folder.glob("*.h5")}
    again = poison("sweep", "--config", plan, "--out", folder, "-q")
    assert [line.split()[-1] for line in again.stdout.splitlines()] == ["skipped"] * len(cells)
    assert {path: path.read_bytes() for path in folder.glob("*.h5")} == before
    drawn = poison("report", folder, "-q")
    assert drawn.exit_code == 0, drawn.output
    assert (folder / "figure.png").stat().st_size > 10_000


def test_options_of_a_defense_reach_it(tmp_path):
    plan = parse(tiny("spr-fig14"), "here")
    execute(plan, tmp_path)
    choice = description.choice_from_json(
        run_file.read(next(tmp_path.glob("10.*.h5"))).defenses["bayesclean"].choice
    )
    assert (choice.options["c1"], choice.options["c2"]) == (1.0, 2.0)


def test_the_way_of_a_point_leads_from_its_start_to_its_end(tmp_path):
    plan = parse(tiny("spr-fig3"), "here")
    execute(plan, tmp_path)
    poison, split = (lambda content: (content.poison, content.split))(
        run_file.read(next(tmp_path.glob("alpha-1-0.*.h5")))
    )
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
    plan, folder = parse(text, "here"), tmp_path / "out"
    assert [outcome.status for outcome in execute(plan, folder)] == ["done"]
    assert [outcome.status for outcome in execute(plan, folder)] == ["skipped"]
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
    outcomes = execute(parse(text, "here"), tmp_path / "out", data_dir=str(tmp_path))
    assert [outcome.status for outcome in outcomes] == ["skipped", "done"]
    assert "loan-processed.csv" in outcomes[0].reason
    assert "Jagielski" in outcomes[0].reason
