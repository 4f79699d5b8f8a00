"""Fig. 1 of the papers: the three maps of the two-dimensional example, end to end by its preset."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from typer.testing import CliRunner

import poisoncli
from poisoncli import Choice, PoisonError, Run
from poisoncli.cli import app
from poisoncli.reports import point_map, summary
from poisoncli.sweeps import contents as held
from poisoncli.sweeps.drive import execute
from poisoncli.sweeps.plan import preset


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("maps") / "fig1"
    assert all(one.status == "done" for one in execute(preset("hlp-fig1"), place))
    return place


def contents(folder):
    return [run for lines in held.contents(folder)[1].values() for run in lines.values()]


@pytest.mark.long
def test_one_row_does_harm_in_some_places_and_a_penalty_takes_it_away(folder):
    bare, fixed, learned = (point_map.draw(run, side=15) for run in contents(folder))
    assert bare.values.max() > bare.values.min() + 0.05
    assert np.ptp(fixed.values) < np.ptp(bare.values)
    assert (bare.is_lambda, fixed.is_lambda, learned.is_lambda) == (False, False, True)
    # lambda is larger where the row does more harm (HLP IV)
    harmful = bare.values >= np.quantile(bare.values, 0.95)
    assert learned.values[harmful].mean() > learned.values[~harmful].mean() + 2
    for one in (bare, fixed, learned):
        assert one.values.shape == one.clean.shape == one.poisoned.shape == (15, 15)
        assert len(one.rows.y) == 32
        assert np.all(np.abs(one.point) <= 9.5)


def test_the_row_is_added_to_those_of_training(folder):
    for run in contents(folder):
        assert run.split["train"].shape == (1, 32)
        assert run.poison.replaced.tolist() == [[-1]]
        assert run.poison.y.tolist() == [[1.0]]  # a validation row of the first class, its label flipped
        assert "place=append" in summary.label(run)


def test_the_attack_finds_a_harmful_place(folder):
    run = contents(folder)[0]
    found = point_map.draw(run, side=15)
    reached = run.evaluations["none"].val_error[0, -1]
    assert reached >= np.quantile(found.values, 0.9)


@pytest.mark.long
def test_the_preset_draws_its_figure(folder):
    result = CliRunner().invoke(app, ["report", str(folder)])
    assert result.exit_code == 0, result.output
    assert (folder / "figure.png").stat().st_size > 30_000


@pytest.mark.sampled
@pytest.mark.parametrize(
    "fields",
    [
        {"dataset": Choice("digits")},
        {"dataset": Choice("breast-cancer")},  # each feature has bounds of its own
        {"dataset": Choice("gaussians"), "model": Choice("mlp"), "learn_lambda": True, "per_layer": True},
    ],
)
def test_what_has_no_map_is_refused(tmp_path, fields):
    small = Run(
        attack=Choice("rmd", {"outer_steps": 1, "inner_steps": 2}), n_train=20, n_val=10, n_test=10, fraction=0.1
    )
    path = poisoncli.attack(dataclasses.replace(small, **fields), tmp_path / "run.h5")
    with pytest.raises(PoisonError, match="a map needs two features"):
        point_map.draw(poisoncli.evaluate(path))


def own(tmp_path, column, **fields):
    """An evaluated run on a table of two columns."""
    rng = np.random.default_rng(0)
    lines = [f"{rng.normal() + row % 2:.2f},{column(rng)},{('ham', 'spam')[row % 2]}" for row in range(60)]
    (tmp_path / "own.csv").write_text("\n".join(["a,b,y", *lines]) + "\n")
    run = Run(Choice("file", {"path": str(tmp_path / "own.csv")}), attack=Choice("flip"), fraction=0.1, **fields)
    return poisoncli.evaluate(poisoncli.attack(run, tmp_path / "run.h5"))


def test_a_table_of_ones_own_has_a_map_with_its_names(tmp_path):
    content = own(tmp_path, lambda rng: f"{rng.normal():.2f}")
    assert point_map.draw(content, side=3).values.shape == (3, 3)
    assert point_map.names(content) == ("class ham", "class spam")


def test_a_constant_feature_and_a_victim_without_descent_have_no_map(tmp_path):
    with pytest.raises(PoisonError, match="two features that vary"):
        point_map.draw(own(tmp_path, lambda rng: "0.5"))
    (tmp_path / "run.h5").unlink()
    with pytest.raises(PoisonError, match="choose --model logistic"):
        point_map.draw(own(tmp_path, lambda rng: f"{rng.normal():.2f}", model=Choice("svm"), lambda_=0.1))
