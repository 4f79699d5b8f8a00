"""Every count has an upper bound, and what would not fit the memory is refused before it is allocated."""

import dataclasses

import numpy as np
import pytest
from fuzz import arguments, counts
from typer.testing import CliRunner

import poisoncli
from poisoncli import Choice, PoisonError, Run
from poisoncli.cli import app
from poisoncli.runs import stages
from poisoncli.runs.description import METHODS
from poisoncli.runs.options import read_value

SMALL = Run(n_train=20, n_val=10, n_test=10, fraction=0.2)
LONG = {"outer_steps": 2**31 - 1, "inner_steps": 3}
DEEP = {"outer_steps": 2, "inner_steps": 2**31 - 1}


@pytest.mark.parametrize("option", list(counts.options()), ids=" ".join)
@pytest.mark.parametrize("value", [*counts.BEYOND, 10**20, 1e308])
def test_no_option_takes_a_count_beyond_all_bounds(option, value):
    kind, name, field = option
    with pytest.raises(PoisonError) as error:
        read_value(field, METHODS[kind][name], field, value)
    assert "\n" not in str(error.value)
    assert ": " in str(error.value)
    assert str(error.value)[-1] not in ": "


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("counts")
    (place / "own.csv").write_text("a,y\n1,0\n2,1\n3,0\n4,1\n")
    poisoncli.attack(dataclasses.replace(SMALL, attack=Choice("flip")), place / "flip.h5")
    return place


@pytest.mark.parametrize("flag", arguments.verbs_with_counts(), ids=" ".join)
@pytest.mark.parametrize("value", counts.BEYOND)
def test_no_verb_takes_a_count_beyond_all_bounds(folder, monkeypatch, flag, value):
    monkeypatch.chdir(folder)
    said = CliRunner().invoke(app, counts.flag_command(*flag, value))
    assert said.exit_code == 2, said.output
    assert "Traceback" not in said.output


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (dataclasses.replace(SMALL, attack=Choice("rmd", LONG)), "the attack needs about .*: take fewer -o inner_"),
        (dataclasses.replace(SMALL, attack=Choice("rmd", DEEP)), "the attack needs about .*: take fewer -o inner_"),
        (
            dataclasses.replace(SMALL, dataset=Choice("line"), attack=Choice("stealthy", LONG)),
            "the attack needs about .*: take fewer -o inner_",
        ),
        (
            dataclasses.replace(SMALL, model=Choice("mlp", {"hidden": (2**31 - 1,)}), attack=Choice("flip")),
            "training model mlp of .* parameters needs about .*: choose a smaller one",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_the_work(tmp_path, run, says):
    with pytest.raises(PoisonError, match=says):
        poisoncli.attack(run, tmp_path / "run.h5")
    assert not list(tmp_path.iterdir())


def test_the_rows_of_all_repetitions_are_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("POISON_MEMORY", "0.01")
    few = dataclasses.replace(SMALL, attack=Choice("flip"))
    poisoncli.attack(few, tmp_path / "few.h5")
    with pytest.raises(
        PoisonError, match=r"^400,000 rows of 64 features needs? about .*: ask for fewer --n-train or"
    ):
        poisoncli.attack(dataclasses.replace(few, repetitions=10_000), tmp_path / "many.h5")


def test_the_estimate_is_about_what_an_attack_takes(tmp_path, monkeypatch):
    """A run that fits by its estimate is crafted, with a limit that is barely above it."""
    monkeypatch.setenv("POISON_MEMORY", "0.005")
    run = dataclasses.replace(SMALL, attack=Choice("rmd", {"outer_steps": 2, "inner_steps": 3}))
    found = stages.run_file.read(poisoncli.attack(run, tmp_path / "run.h5"))
    assert np.isfinite(found.poison.x).all()
