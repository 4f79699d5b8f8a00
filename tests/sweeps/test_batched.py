"""Runs of a sweep that leave the clean rows alone are crafted as one."""

import dataclasses

import numpy as np
import pytest

import poisoncli
from poisoncli.core.errors import FailedError
from poisoncli.runs import description, run_file
from poisoncli.runs.description import Choice, Run
from poisoncli.sweeps import batched
from poisoncli.sweeps.drive import execute
from poisoncli.sweeps.plan import parse

SMALL = Run(attack=Choice("rmd", {"outer_steps": 6, "inner_steps": 8}), fraction=0.14, repetitions=2)
OTHERS = """
title = "rates, penalties, targets"
[base]
dataset = "digits"
attack = { name = "rmd", outer_steps = 3, inner_steps = 8 }
trainer = { name = "sgd", epochs = 20 }
fraction = 0.14
repetitions = 2
learn_lambda = true
[line."l1"]
reg = "l1"
[line."rates"]
attack = { outer_rate = 0.1, log_lambda_start = 1.0 }
trainer = { rate = 0.05 }
[line."target"]
attack = { target = "class:8" }
"""
TEXT = """
title = "four policies"
[base]
dataset = "digits"
attack = { name = "rmd", outer_steps = 6, inner_steps = 8 }
fraction = 0.14
repetitions = 2
[line."no penalty"]
reg = "none"
[line."clean"]
clean_lambda = true
[line."large"]
lambda = 0.2
[line."learned"]
learn_lambda = true
"""


def changed(**options):
    """The attack of `SMALL` with other options."""
    return Choice("rmd", {**SMALL.attack.options, **options})


def resolved(**fields):
    return description.resolve(dataclasses.replace(SMALL, **fields))


def test_runs_that_leave_the_clean_rows_alone_form_a_group():
    runs = [
        resolved(reg="none"),
        resolved(learn_lambda=True),
        resolved(seed=1, lambda_=0.2),
        resolved(lambda_=0.2, reg="l1"),
        resolved(clean_lambda=True),
        resolved(fraction=0.2, lambda_=0.1),
        resolved(trainer=Choice("sgd", {"rate": 0.05})),
        resolved(attack=Choice("flip")),
        resolved(attack=Choice("flip"), lambda_=0.1),
        resolved(attack=changed(outer_rate=0.1, target="class:8")),
        resolved(attack=changed(target="class:8", target_label="0")),
        resolved(attack=changed(target="test")),
        resolved(attack=changed(outer_steps=7)),
        resolved(trainer=Choice("sgd", {"rate": 0.05, "epochs": 7})),
    ]
    groups = [[0, 1, 3, 4, 6, 9], [2], [5], [7], [8], [10], [11], [12], [13]]
    assert batched.groups(runs) == groups


def test_without_the_penalty_among_what_differs_there_is_a_group_for_each():
    """Where points start as other rows, those that are looked at stay the same too."""
    restarts = changed(restarts=1)
    policies = [{"reg": "none"}, {"lambda_": 0.2, "reg": "l1"}, {"lambda_": 0.1}, {"learn_lambda": True}]
    runs = [resolved(attack=restarts, **policy) for policy in policies]
    assert batched.groups(runs) == [[0, 1], [2, 3]]


@pytest.fixture(scope="module")
def crafted(tmp_path_factory):
    """The folder of a sweep, finished."""
    folder = tmp_path_factory.mktemp("sweep")
    assert [outcome.status for outcome in execute(parse(TEXT, "test"), folder)] == ["done"] * 4
    return folder


@pytest.mark.long
@pytest.mark.parametrize("line", ["no-penalty", "clean", "large", "learned"])
def test_each_file_is_that_of_its_own_run(crafted, tmp_path, line):
    cell = next(cell for cell in parse(TEXT, "test").cells if cell.name == line)
    alone = run_file.read(poisoncli.attack(cell.run, tmp_path / "alone.h5"))
    found = run_file.read(next(crafted.glob(f"{line}.*.h5")))
    assert (found.run, found.sha256) == (alone.run, alone.sha256)
    for name, left, right in zip(alone.poison._fields, found.poison, alone.poison, strict=True):
        if name not in ("done", "total"):
            np.testing.assert_allclose(left, right, atol=2e-5, err_msg=name)
    assert found.evaluations["none"].test_error.shape == (2, 3)


def test_rates_penalties_and_targets_are_those_of_each(tmp_path):
    sweep = parse(OTHERS, "test")
    assert batched.groups([cell.run for cell in sweep.cells]) == [[0, 1, 2]]
    paths = [tmp_path / f"{cell.name}.h5" for cell in sweep.cells]
    batched.attack([cell.run for cell in sweep.cells], paths)
    for cell, path in zip(sweep.cells, paths, strict=True):
        alone = run_file.read(poisoncli.attack(cell.run, tmp_path / "alone.h5", force=True))
        found = run_file.read(path)
        assert found.run == alone.run
        for name in ("x", "y", "log_lambda", "loss"):
            left, right = getattr(found.poison, name), getattr(alone.poison, name)
            np.testing.assert_allclose(left, right, atol=2e-5, err_msg=f"{name} of {cell.name}")


STEALTHY = """
title = "damage against detectability"
[base]
dataset = "diabetes"
attack = { name = "stealthy", outer_steps = 4, inner_steps = 10, batch = 9 }
n_train = 60
fraction = 0.3
repetitions = 2
[line."1"]
[line."0.3"]
attack = { alpha = 0.3 }
[line."0.1"]
attack = { alpha = 0.1, outer_rate = 0.5 }
[line."ridge"]
attack = { alpha = 0.3, inner_rate = 0.05 }
lambda = 0.1
[line."shrunk"]
attack = { alpha = 0.1 }
lambda = 0.1
"""


def same_poison(found, alone, name):
    for field in ("x", "y", "log_lambda", "loss", "scales", "trail", "replaced"):
        left, right = getattr(found, field), getattr(alone, field)
        np.testing.assert_allclose(left, right, atol=2e-5, err_msg=f"{field} of {name}")


@pytest.mark.parametrize(
    ("model", "normalize"),
    [
        ("linear", "objectives"),
        pytest.param("linear", "none", marks=pytest.mark.long),
        pytest.param("mlp", "objectives", marks=pytest.mark.long),
    ],
)
def test_stealthy_attacks_with_other_alphas_are_crafted_together(tmp_path, model, normalize):
    text = STEALTHY.replace("batch = 9", f'batch = 9, normalize = "{normalize}"')
    sweep = parse(text.replace("[line", f'model = "{model}"\n[line', 1), "test")
    runs = [cell.run for cell in sweep.cells]
    assert batched.groups(runs) == [[0, 1, 2, 3, 4]]
    paths = [tmp_path / f"{cell.name}.h5" for cell in sweep.cells]
    batched.attack(runs, paths)
    for cell, path in zip(sweep.cells, paths, strict=True):
        alone = run_file.read(poisoncli.attack(cell.run, tmp_path / "alone.h5", force=True))
        assert run_file.read(path).run == alone.run
        same_poison(run_file.read(path).poison, alone.poison, cell.name)


@pytest.mark.long
def test_stealthy_attacks_that_were_interrupted_together_end_in_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr("poisoncli.bilevel.schedule.CALL_SECONDS", 0)
    monkeypatch.setattr("poisoncli.bilevel.schedule.SHORT_SECONDS", 0)  # a repetition at a time
    runs = [cell.run for cell in parse(STEALTHY, "test").cells]
    whole, again = ([tmp_path / f"{name}-{n}.h5" for n in range(len(runs))] for name in ("whole", "again"))
    batched.attack(runs, whole)
    for at in (3, 13, 25):  # in the first attack and in the second, which begins after 16

        def interrupt(done, total, what, at=at):
            if "crafting" in what and done == at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            batched.attack(runs, again, report=interrupt)
    batched.attack(runs, again)
    for one, other in zip(whole, again, strict=True):
        for left, right in zip(run_file.read(one).poison, run_file.read(other).poison, strict=True):
            np.testing.assert_array_equal(left, right)


@pytest.mark.long
def test_an_interrupted_sweep_ends_in_the_same_bits(crafted, tmp_path, monkeypatch):
    monkeypatch.setattr("poisoncli.bilevel.schedule.CALL_SECONDS", 0)
    whole, again = tmp_path / "whole", tmp_path / "again"
    execute(parse(TEXT, "test"), whole)

    def interrupt(done, total, what):
        if "crafting" in what and done == 9:
            raise KeyboardInterrupt

    with pytest.raises(FailedError, match="interrupted"):
        execute(parse(TEXT, "test"), again, report=interrupt)
    assert not list(again.glob("large.*.h5"))
    execute(parse(TEXT, "test"), again)
    assert sorted(p.name for p in again.iterdir()) == sorted(p.name for p in whole.iterdir())
    for path in whole.glob("*.h5"):
        for left, right in zip(run_file.read(path).poison, run_file.read(again / path.name).poison, strict=True):
            np.testing.assert_array_equal(left, right)


def test_one_that_fails_leaves_the_others(tmp_path):
    text = TEXT.replace("lambda = 0.2", "lambda = 1e30")
    outcomes = {outcome.cell.line: outcome for outcome in execute(parse(text, "test"), tmp_path)}
    assert {line: outcome.status for line, outcome in outcomes.items()} == {
        "no penalty": "done",
        "clean": "done",
        "large": "failed",
        "learned": "done",
    }
    assert "diverged" in outcomes["large"].reason


def test_runs_that_find_their_own_rate_are_crafted_alone(tmp_path):
    """Their rate depends on their lambda, and stands in the description of each."""
    own = Choice("file", {"path": str(tmp_path / "rows.csv")})
    runs = [description.resolve(Run(dataset=own, lambda_=value)) for value in (0.01, 0.1)]
    assert batched.groups(runs) == [[0], [1]]
    told = Choice("sgd", {"rate": 0.1, "epochs": 20})
    runs = [description.resolve(Run(dataset=own, lambda_=value, trainer=told)) for value in (0.01, 0.1)]
    assert batched.groups(runs) == [[0, 1]]
