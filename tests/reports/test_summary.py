"""Tables of run files: labels, policies, and the columns of the measures."""

import dataclasses
import json

import numpy as np
from measured import BASE
from typer.testing import CliRunner

import poisoncli
from poisoncli.cli import app
from poisoncli.reports import figures, summary


def test_json_holds_them_all(folder):
    result = CliRunner().invoke(app, ["evaluate", str(folder / "none.h5"), str(folder / "fixed.h5"), "--json"])
    assert result.exit_code == 0, result.output
    first, second = map(json.loads, result.stdout.splitlines())
    assert {"selected", "consistency", "layer_norm"} <= set(first["rows"][0])
    assert "decrease" in second["rows"][0]
    assert set(first["weights"]) == {"edges", "clean", "poisoned"}


def test_table_shows_the_decrease(folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # as wide as a pipe
    result = CliRunner().invoke(app, ["evaluate", str(folder / "none.h5"), str(folder / "fixed.h5")])
    assert "Relative decrease" in result.stdout
    assert "consistency (top 4 weights)" in CliRunner().invoke(app, ["evaluate", str(folder / "none.h5")]).stdout


def test_a_lambda_learned_on_clean_rows_is_a_policy_of_its_own(tmp_path):
    run = dataclasses.replace(BASE, learn_lambda=True, clean_lambda=True, repetitions=1)
    content = poisoncli.read(poisoncli.attack(run, tmp_path / "run.h5"))
    assert summary.policy(content) == "learned-clean"
    assert summary.label(content) == "rmd, l2 penalty, lambda learned on clean rows"
    lambdas = content.poison.log_lambda[0, :, 0]
    assert np.all(lambdas == lambdas[0])
    assert set(figures.POLICIES) >= {"learned-clean"}


def test_runs_that_are_labeled_alike_are_told_apart(folder):
    """By the model, by the data set or its size, or else by a number."""
    content = poisoncli.read(folder / "none.h5")
    told = json.loads(content.run)
    other = dataclasses.replace(content, run=json.dumps({**told, "model": {**told["model"], "name": "mlp"}}))
    smaller = dataclasses.replace(content, run=json.dumps({**told, "n_train": told["n_train"] - 1}))
    name = summary.label(content)
    assert summary.labels([content]) == [name]
    assert summary.labels([content, other]) == [f"logistic, {name}", f"mlp, {name}"]
    assert summary.labels([content, smaller]) == [f"{summary.title(one)}, {name}" for one in (content, smaller)]
    assert summary.labels([content, content]) == [f"1. {name}", f"2. {name}"]
