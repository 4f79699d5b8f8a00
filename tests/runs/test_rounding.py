"""Attacks on tables with a schema end with rows that could be real, and say what that cost."""

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pytest

from poisoncli.core import domain
from poisoncli.core.data import Dataset
from poisoncli.core.domain import Domain
from poisoncli.core.errors import Interrupted
from poisoncli.datasets import DATASETS
from poisoncli.reports import summary, tables
from poisoncli.runs import export, rounding, run_file, stages
from poisoncli.runs.description import Choice, Run
from poisoncli.runs.prepare import restore


class People:
    """200 people: age and children (whole), income, port (three categories); whether they survive."""

    task: ClassVar[Any] = "binary"

    def load(self, data_dir=None):
        rng = np.random.default_rng(0)
        age, children = rng.integers(1, 80, 200), rng.integers(0, 5, 200)
        income, port = rng.gamma(2, 10, 200), rng.integers(0, 3, 200)
        x = np.column_stack([age, children, income, np.eye(3)[port]]).astype(float)
        score = age / 20 - children + income / 20 + 2 * (port == 1) + rng.normal(0, 1, 200)
        y = (score > np.median(score)).astype(float) if self.task == "binary" else score
        own = Domain(
            low=x.min(0), high=x.max(0), whole=np.array([True, True, False, False, False, False]),
            group=np.array([-1, -1, -1, 0, 0, 0]), column=np.array([0, 1, 2, 3, 3, 3]),
            names=("age", "children", "income", "port"), move=np.zeros(6, int),
        )  # fmt: skip
        return Dataset(x, y, x.min(0), x.max(0), self.task, self.task, domain=own)


@pytest.fixture
def people(monkeypatch):
    """The data sets `people` (two classes) and `incomes` (a real target)."""
    for name, task in (("people", "binary"), ("incomes", "real")):
        made = dataclasses.make_dataclass(
            name, [], bases=(People,), frozen=True,
            namespace={"task": task, "scaled": True, "sizes": (80, 40, 60), "usual_trainer": "momentum"},
        )  # fmt: skip
        monkeypatch.setitem(DATASETS, name, made)


LIMITS = {"frozen": ("port",), "only_up": ("age",), "columns_changed": 2}
STEPS = {"outer_steps": 6}
SVM = {"repeats": (3,), "quantiles": (0.4,), "splits": 1}
RUNS = {
    "rmd": Run(Choice("people"), attack=Choice("rmd", STEPS), fraction=0.15, repetitions=2),
    "rmd-limits": Run(Choice("people"), attack=Choice("rmd", STEPS), fraction=0.15, **LIMITS),
    "rmd-restarts": Run(Choice("people"), attack=Choice("rmd", {**STEPS, "restarts": 1}), fraction=0.1, **LIMITS),
    "rmd-learned": Run(Choice("people"), attack=Choice("rmd", STEPS), fraction=0.1, learn_lambda=True),
    "stealthy": Run(Choice("incomes"), attack=Choice("stealthy", STEPS), fraction=0.15, **LIMITS),
    "statp": Run(Choice("incomes"), attack=Choice("statp"), fraction=0.15, **LIMITS),
    "kkt": Run(Choice("people"), Choice("svm"), attack=Choice("kkt", SVM), lambda_=0.1, fraction=0.1),
    "influence": Run(
        Choice("people"), Choice("svm"), attack=Choice("influence", {"steps": 5, "starts": 1}), lambda_=0.1,
        fraction=0.1, ranges=("age=18:60",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_every_poison_row_could_be_real(people, tmp_path, name):
    path = stages.attack(RUNS[name], tmp_path / "run.h5")
    content = run_file.read(path)
    prepared, poison = restore(content), content.poison
    limits = prepared.domain
    assert limits is not None
    start = rounding.origins(prepared, limits, poison)
    for r in range(len(poison.y)):
        x = rounding.own(poison.x[r], *prepared.units(r))
        assert not domain.impossible(limits.of(r), x, None if start is None else start[r]).any()
    assert content.rounding["test_error"].shape[:2] == poison.log_lambda.shape[:2]
    again = stages.evaluate(path)
    np.testing.assert_allclose(
        again.evaluations["none"].test_error, content.rounding["test_error"][..., -1], atol=1e-6
    )


def test_what_rounding_cost_is_told_and_the_exchange_wins_some_of_it_back(people, tmp_path, caplog):
    with caplog.at_level("INFO", logger="poisoncli"):
        content = stages.evaluate(stages.attack(RUNS["rmd"], tmp_path / "run.h5"))
    assert any("poison rows are rounded to possible ones: test error" in line for line in caplog.messages)
    loss = content.rounding["target_loss"][:, -1]
    assert np.all(loss[:, 2] >= loss[:, 1] - 1e-6)
    assert loss[:, 2].mean() > loss[:, 1].mean()
    rows = summary.rows(content)
    assert rows[-1]["test_error_relaxed"] == pytest.approx(content.rounding["test_error"][:, -1, 0].mean())
    shown = tables.stages(content, rows)
    assert {"unrounded", "rounded, not exchanged"} <= set(shown.columns)


def test_exported_poison_is_exact_in_the_units_of_the_data(people, tmp_path):
    content = run_file.read(stages.attack(RUNS["rmd-limits"], tmp_path / "run.h5"))
    with np.load(export.export(content, tmp_path / "rows.npz")) as found:
        poison, x, replaced = found["poison"] == 1, found["x"], found["replaced"]
    clean = restore(content).dataset.x[replaced[poison]]
    x = x[poison]
    assert np.array_equal(x[:, :2], np.rint(x[:, :2]))
    assert np.array_equal(x[:, 3:], clean[:, 3:])  # frozen
    assert np.all(x[:, 0] >= clean[:, 0])  # only up
    assert np.all((x != clean)[:, :3].sum(1) <= 2)


def test_an_interrupted_exchange_goes_on_to_the_same_bits(people, tmp_path, monkeypatch):
    whole = run_file.read(stages.attack(RUNS["rmd"], tmp_path / "whole.h5"))

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as at:
        at.setattr(rounding, "exchange", interrupt)
        with pytest.raises(Interrupted):
            stages.attack(RUNS["rmd"], tmp_path / "run.h5")
    found = run_file.read(stages.attack(RUNS["rmd"], tmp_path / "run.h5", resume=True))
    assert np.array_equal(found.poison.x, whole.poison.x)
