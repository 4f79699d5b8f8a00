"""Attacks on chosen rows, towards a chosen label: they hit, and what they are about is told and kept apart."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import poisoncli
from poisoncli import Choice, PoisonError, Run
from poisoncli.cli import app
from poisoncli.reports import summary
from poisoncli.runs import description, prepare, serialize, targets
from poisoncli.runs.problem import problem as problem_of

BASE = Run(
    attack=Choice("rmd", {"outer_steps": 40, "inner_steps": 40, "batch": 20}),
    trainer=Choice("sgd", {"epochs": 60}),
    n_train=140,
    n_val=60,
    n_test=60,
    fraction=0.15,
)


def with_options(run=BASE, **options):
    return dataclasses.replace(run, attack=Choice("rmd", {**run.attack.options, **options}))


def outcome(tmp_path, run, name="run"):
    return poisoncli.evaluate(poisoncli.attack(run, tmp_path / f"{name}.h5"))


@pytest.mark.long
@pytest.mark.parametrize("learn", [False, True])
def test_a_targeted_attack_raises_the_rate_of_its_label(tmp_path, learn):
    """Digits 0 and 8: the zeros become eights, while eights stay what they are."""
    run = with_options(target="class:0", target_label="8")
    run = dataclasses.replace(run, learn_lambda=learn, fraction=0.3)
    content = outcome(tmp_path, run)
    rate = content.evaluations["none"].target_rate[0]
    assert rate[0] <= 0.05
    assert rate[-1] >= 0.4
    row = summary.rows(content)[-1]
    assert row["target_rate"] == pytest.approx(rate[-1])
    assert "on class 0 to 8" in summary.label(content)


@pytest.mark.long
def test_rows_of_a_file_are_hit_and_kept_out_of_everything_else(tmp_path):
    data = description.build(description.resolve(BASE).dataset, "dataset").load(None)
    chosen = data.row_numbers[data.y == 1][[3, 7, 11]]
    (tmp_path / "rows.txt").write_text("\n".join(map(str, chosen)))
    run = dataclasses.replace(with_options(target=f"rows:{tmp_path / 'rows.txt'}", target_label="0"), repetitions=2)
    content = outcome(tmp_path, run)
    for part in content.split.values():
        assert not set(chosen) & set(data.row_numbers[part.ravel()])
    (tmp_path / "rows.txt").unlink()  # the run file knows its rows
    again = poisoncli.evaluate(tmp_path / "run.h5", save=False)
    np.testing.assert_array_equal(again.evaluations["none"].target_rate, content.evaluations["none"].target_rate)
    assert serialize.from_json(content.run).attack.options["target"] == "rows:" + ",".join(map(str, chosen))
    assert np.all(content.evaluations["none"].target_rate[:, -1] == 1)


@pytest.mark.parametrize("part", ["val", "test", "train"])
def test_whole_parts_can_be_targeted(part):
    prepared = prepare.prepare(description.resolve(with_options(target=part)))
    task = problem_of(prepared)
    np.testing.assert_array_equal(task.target.y, getattr(prepared.split, part).y)
    assert task.trusted is None


def test_a_learned_lambda_keeps_to_the_validation_rows():
    run = dataclasses.replace(with_options(target="test"), learn_lambda=True)
    prepared = prepare.prepare(description.resolve(run))
    task = problem_of(prepared)
    np.testing.assert_array_equal(task.target.x, prepared.split.test.x)
    np.testing.assert_array_equal(task.trusted.x, prepared.split.val.x)
    plain = problem_of(prepare.prepare(description.resolve(dataclasses.replace(BASE, learn_lambda=True))))
    assert plain.trusted is None


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"target": "everything"}, "choose one of val, test, train"),
        ({"target": "class:"}, "choose one of val"),
        ({"target": "class:5"}, "no class 5 to target: choose one of 0, 8"),
        ({"target_label": "5"}, "no class 5 to target"),
        ({"target": "rows:absent.txt"}, "names no rows"),
        ({"target": "rows:0,999999"}, "no row 999999 of these classes to target: choose from 0 to 1796"),
        ({"target": "rows:1"}, "no row 1 of these classes to target"),  # a one
        ({"target_loss": "beauty"}, "choose one of training, margin"),
    ],
)
def test_bad_targets_are_refused(options, match):
    with pytest.raises(PoisonError, match=match):
        prepare.prepare(description.resolve(with_options(**options)))


def test_class_names_are_those_of_the_user():
    run = description.resolve(Run(dataset=Choice("digits", {"classes": (3, 5)})))
    assert [targets.class_number(run, name) for name in ("3", "5")] == [0, 1]
    assert targets.class_number(description.resolve(Run(dataset=Choice("gaussians"))), "right") == 1


@pytest.mark.long
def test_options_of_the_command_line_reach_the_attack(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("few.txt").write_text("0, 8\n10")  # a zero, an eight, a zero
    sizes = ["--n-train", "40", "--n-val", "20", "--n-test", "20", "--fraction", "0.1", "-o", "outer_steps=2"]
    words = ["attack", *sizes, "--target-rows", "rows:few.txt", "--target-label", "8", "--quiet"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    found = serialize.from_json(poisoncli.read("run.h5").run).attack.options
    assert (found["target"], found["target_label"]) == ("rows:0,8,10", "8")
    assert "target rows hit" in CliRunner().invoke(app, ["evaluate", "run.h5"]).stdout
