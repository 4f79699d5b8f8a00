"""Sweeps are read and checked; every preset describes complete runs."""

import pytest

from poisoncli import PoisonError
from poisoncli.runs import description, serialize
from poisoncli.sweeps.plan import parse, preset, presets

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


@pytest.mark.parametrize("name", presets())
def test_every_preset_describes_complete_runs(name):
    plan = preset(name)
    assert plan.title
    for cell in plan.cells:
        assert serialize.from_json(serialize.to_json(cell.run)) == cell.run
        for kind in description.TABLES:
            assert description.build(getattr(cell.run, kind), kind)
    for defense in description.DEFENSES if "all" in plan.defend else plan.defend:
        assert description.resolve_defense(description.Choice(defense, plan.options.get(defense, {})))


def test_presets_of_stealth_take_the_papers_start_and_one_norm_for_the_batch():
    found = [cell.run.attack for name in presets() if name.startswith("spr") for cell in preset(name).cells]
    assert {attack.options["start"] for attack in found} == {"copy"}
    assert {attack.options["gradient"] for attack in found} == {"batch"}


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
        parse(GRID.replace(change, other), "here")


@pytest.mark.parametrize("name", [name for name in presets() if name.startswith("ksl")])
def test_presets_of_the_paper_are_complete(name):
    plan = preset(name)
    assert plan.title.startswith(f"KSL {'Table' if 'table' in name else 'Fig.'} {name.lstrip('ksl-figtabe')}:")
    assert {cell.run.model.name for cell in plan.cells} <= {"svm", "multisvm"}
