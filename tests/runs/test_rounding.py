"""Attacks on tables with a schema end with rows that could be real, and say what that cost."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import realistic

from poisoncli.core import domain
from poisoncli.core.errors import Interrupted
from poisoncli.reports import summary, tables
from poisoncli.runs import export, rounding, run_file, stages
from poisoncli.runs.description import Choice, Run
from poisoncli.runs.prepare import restore


@pytest.fixture
def people(tmp_path):
    """A table of 200 people: age and children (whole), income, port (three categories); survival, or a score."""
    rng = np.random.default_rng(0)
    age, children = rng.integers(1, 80, 200), rng.integers(0, 5, 200)
    income, port = rng.gamma(2, 10, 200), rng.integers(0, 3, 200)
    score = age / 20 - children + income / 20 + 2 * (port == 1) + rng.normal(0, 1, 200)
    columns = {"age": age, "children": children, "income": income, "port": np.array(["Q", "C", "S"])[port]}
    for name, target in (("people", np.where(score > np.median(score), "yes", "no")), ("scores", score)):
        frame = pd.DataFrame({**columns, "target": target})
        frame.loc[::9, "age"] = np.nan
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


PEOPLE, SCORES = (Choice("file", {"path": name, "target": "target"}) for name in ("people.csv", "scores.csv"))
SIZES = {"n_train": 80, "n_val": 40, "n_test": 60}
LIMITS = {"frozen": ("port",), "only_up": ("age",), "columns_changed": 2}
STEPS = {"outer_steps": 6}
SVM = {"repeats": (3,), "quantiles": (0.4,), "splits": 1}
RUNS = {
    "rmd": Run(PEOPLE, attack=Choice("rmd", STEPS), fraction=0.15, repetitions=2),
    "rmd-limits": Run(PEOPLE, attack=Choice("rmd", STEPS), fraction=0.15, **LIMITS),
    "rmd-restarts": Run(PEOPLE, attack=Choice("rmd", {**STEPS, "restarts": 1}), fraction=0.1, **LIMITS),
    "rmd-learned": Run(PEOPLE, attack=Choice("rmd", STEPS), fraction=0.1, learn_lambda=True),
    "stealthy": Run(SCORES, attack=Choice("stealthy", STEPS), fraction=0.15, **LIMITS),
    "statp": Run(SCORES, attack=Choice("statp"), fraction=0.15, **LIMITS),
    "kkt": Run(PEOPLE, Choice("svm"), attack=Choice("kkt", SVM), lambda_=0.1, fraction=0.1),
    "influence": Run(
        PEOPLE, Choice("svm"), attack=Choice("influence", {"steps": 5, "starts": 1}), lambda_=0.1,
        fraction=0.1, ranges=("age=18:60",),
    ),
}  # fmt: skip


@pytest.fixture
def craft(people, monkeypatch):
    """Crafts one of `RUNS` where its table lies."""
    monkeypatch.chdir(people)

    def run(name, out="run.h5", **options):
        return stages.attack(dataclasses.replace(RUNS[name], **SIZES), out, **options)

    return run


@pytest.mark.sampled
@pytest.mark.parametrize("name", RUNS)
def test_every_poison_row_could_be_real(craft, name):
    path = craft(name)
    content = run_file.read(path)
    prepared, poison = restore(content), content.poison
    limits = prepared.domain
    assert limits is not None
    start = rounding.origins(prepared, limits, poison)
    for r in range(len(poison.y)):
        x = rounding.own(poison.x[r], *prepared.units(r))
        assert not domain.impossible(limits.of(r), x, None if start is None else start[r]).any()
    again = stages.evaluate(path)
    if start is None:  # the search was among possible rows: rounding has nothing to cost
        assert not content.rounding
        assert "unrounded" not in tables.stages(again, summary.rows(again)).columns
        return
    assert content.rounding["test_error"].shape[:2] == poison.log_lambda.shape[:2]
    np.testing.assert_allclose(
        again.evaluations["none"].test_error, content.rounding["test_error"][..., -1], atol=1e-6
    )


def test_what_rounding_cost_is_told_and_the_exchange_wins_some_of_it_back(craft, caplog):
    with caplog.at_level("INFO", logger="poisoncli"):
        content = stages.evaluate(craft("rmd"))
    assert any("poison rows are rounded to possible ones: test error" in line for line in caplog.messages)
    loss = content.rounding["target_loss"][:, -1]
    assert np.all(loss[:, 2] >= loss[:, 1] - 1e-6)
    assert loss[:, 2].mean() > loss[:, 1].mean()
    rows = summary.rows(content)
    assert rows[-1]["test_error_relaxed"] == pytest.approx(content.rounding["test_error"][:, -1, 0].mean())
    shown = tables.stages(content, rows)
    assert {"unrounded", "rounded, not exchanged"} <= set(shown.columns)


def test_exported_poison_is_exact_and_cells_that_did_not_change_stay(craft, people):
    content = run_file.read(craft("rmd-limits"))
    found = pd.read_csv(export.export(content, "rows.csv"))
    former = pd.read_csv("people.csv")
    poison = found[found.poison == 1]
    clean = former.iloc[poison.replaced.to_numpy() - 1]
    train = former.iloc[found.row.to_numpy() - 1]
    assert realistic.impossible(poison, clean, train, frozen=["port"], only_up=["age"], columns_changed=2) == []
    assert realistic.impossible(poison, clean, train, frozen=["income"]) != []
    assert clean.age.isna().any()


def test_an_interrupted_exchange_goes_on_to_the_same_bits(craft, monkeypatch):
    whole = run_file.read(craft("rmd", "whole.h5"))

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as at:
        at.setattr(rounding, "exchange", interrupt)
        with pytest.raises(Interrupted):
            craft("rmd")
    found = run_file.read(craft("rmd", resume=True))
    assert np.array_equal(found.poison.x, whole.poison.x)
