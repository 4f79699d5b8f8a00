"""The figures of HLP and RCH as presets: each loads, is valid, and is drawn in the paper's arrangement."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from poisoncli.cli import app
from poisoncli.reports import figures
from poisoncli.runs import description
from poisoncli.sweeps.contents import contents
from poisoncli.sweeps.drive import execute
from poisoncli.sweeps.plan import PRESETS, parse, preset, presets

FIGURES = [f"hlp-fig{number}" for number in range(1, 15)] + [f"rch-fig{number}" for number in range(1, 4)]
ARRANGEMENT = {  # rows and columns of axes
    "hlp-fig1": (1, 3), "hlp-fig2": (2, 3), "hlp-fig3": (1, 2), "hlp-fig4": (3, 3), "hlp-fig5": (1, 3),
    "hlp-fig6": (1, 3), "hlp-fig7": (1, 3), "hlp-fig8": (2, 2), "hlp-fig9": (3, 3), "hlp-fig10": (5, 3),
    "hlp-fig11": (1, 3), "hlp-fig12": (1, 3), "hlp-fig13": (2, 3), "hlp-fig14": (2, 3),
    "rch-fig1": (1, 3), "rch-fig2": (2, 3), "rch-fig3": (2, 3),
}  # fmt: skip
TINY = """
[override]
n_train = 60
n_val = 20
n_test = 20
repetitions = 2
fraction = 0.14
trainer = { name = "sgd", epochs = 6 }
attack = { name = "rmd", outer_steps = 2, inner_steps = 6 }
"""


def tiny(name):
    """A preset on embedded data, small enough for a test."""
    text = (PRESETS / f"{name}.toml").read_text(encoding="utf-8")
    text = re.sub(r'\{ name = "fmnist".*\}|"(mnist|fmnist|cifar10|dogfish)"', '"digits"', text)
    text = re.sub(r"n_val = \d+\n", "", text)
    few = {1: "[3]", 2: "[3, 6]", 3: "[3, 6, 9]"}  # of the 64 features of digits
    text = re.sub(r"selected = (\[.*\])", lambda found: f"selected = {few[len(found[1].split(','))]}", text)
    return parse(text + TINY, name)


@pytest.mark.parametrize("name", FIGURES)
def test_a_preset_loads_and_does_a_dry_run(name):
    plan = preset(name)
    assert plan.title.startswith(name.replace("-fig", " Fig. ").replace("hlp", "HLP").replace("rch", "RCH"))
    assert len({cell.name for cell in plan.cells}) == len(plan.cells) > 0
    for cell in plan.cells:
        assert description.resolve(cell.run) == cell.run
        assert cell.run.attack.name == "rmd"
    result = CliRunner().invoke(app, ["sweep", "--preset", name, "--dry-run"])
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == len(plan.cells)


@pytest.mark.parametrize("name", FIGURES)
def test_presets_learn_lambda_by_the_rule_of_the_paper(name):
    schedules = {cell.run.attack.options["lambda_schedule"] for cell in preset(name).cells if cell.run.learn_lambda}
    assert schedules == {"constant"}


@pytest.mark.long
@pytest.mark.parametrize("name", ["hlp-fig4", "hlp-fig10", "hlp-fig14", "rch-fig2", "rch-fig3"])
def test_a_preset_runs_and_is_drawn_as_in_the_paper(name, tmp_path):
    plan = tiny(name)
    outcomes = execute(plan, tmp_path / "out")
    assert {one.status for one in outcomes} == {"done"}, [one.reason for one in outcomes]
    found, panels = contents(tmp_path / "out")
    rows = figures._rows(found.layout, panels)
    assert (len(rows), len(rows[0])) == ARRANGEMENT[name]
    result = CliRunner().invoke(app, ["report", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "figure.png").stat().st_size > 30_000


def test_policies_of_figure_2_keep_the_papers_lambdas():
    """A large lambda is log(1,000) on MNIST with L2, log(50) with L1 (HLP V-B-1)."""
    runs = {(cell.panel, cell.line): cell.run for cell in preset("hlp-fig2").cells}
    assert len(runs) == 24
    large = {panel: runs[panel, "large lambda"].lambda_ * 5000 for panel, line in runs if line == "large lambda"}
    wanted = {
        "MNIST, L2": 1000, "FMNIST, L2": 1000, "CIFAR-10, L2": 10_000,
        "MNIST, L1": 50, "FMNIST, L1": 25, "CIFAR-10, L1": 100,
    }  # fmt: skip
    assert large == pytest.approx(wanted)
    assert all(runs[panel, "lambda clean"].clean_lambda for panel in wanted)


def test_a_sweep_that_compares_with_no_panel_is_refused():
    text = 'draw = ["decrease"]\n[panel.a]\ndataset = "digits"\nagainst = "b"\n'
    with pytest.raises(description.PoisonError, match="no panel named 'b'"):
        parse(text, "text")


@pytest.mark.parametrize("name", [name for name in presets() if name.startswith("spr")])
def test_presets_of_the_paper_are_complete(name):
    plan = preset(name)
    assert plan.title.startswith(f"SPR Fig. {name.removeprefix('spr-fig')}:")
    assert {cell.run.model.name for cell in plan.cells} <= {"linear", "mlp"}
    assert set(plan.defend) <= set(description.DEFENSES)
