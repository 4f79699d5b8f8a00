"""Poisoned rows for other tools: in the user's units, under a lock, and nothing replaced unasked."""

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
from lock_holder import holder
from small_run import FLIPS
from typer.testing import CliRunner

import poisoncli
from poisoncli import Choice, PoisonError, Run
from poisoncli.cli import app
from poisoncli.runs import export
from poisoncli.runs.export import new_file


def test_of_two_commands_that_write_the_same_new_file_one_is_refused(tmp_path):
    out = tmp_path / "rows.csv"
    with holder(out, 60) as first:
        for force in (False, True):
            says = rf"rows\.csv is being written by process {first.pid}"
            with pytest.raises(PoisonError, match=says), new_file(out, force):
                pass
        first.kill()
    with new_file(out, False), pytest.raises(PoisonError, match="is being written"), new_file(out, True):
        pass
    assert not list(tmp_path.iterdir())


def test_a_file_that_comes_while_the_lock_is_taken_is_not_replaced(tmp_path, monkeypatch):
    out = tmp_path / "rows.csv"

    @contextlib.contextmanager
    def slow(path, **_):
        path.write_text("of another command")
        yield

    monkeypatch.setattr(export, "writing", slow)
    with pytest.raises(PoisonError, match="exists: --force"), new_file(out, False):
        pass


@pytest.fixture
def path(tmp_path):
    return poisoncli.attack(FLIPS, tmp_path / "run.h5")


@pytest.mark.parametrize("command", [["export", "run.h5", "x.csv"], ["report", "run.h5", "-o", "x.png"]])
def test_verbs_hold_what_they_write(path, monkeypatch, command):
    monkeypatch.chdir(path.parent)
    poisoncli.evaluate("run.h5")
    with holder(Path(command[-1]).resolve(), 60) as first:
        refused = CliRunner().invoke(app, [*command, "--force"])
        first.kill()
    assert refused.exit_code == 2
    assert f"is being written by process {first.pid}" in refused.stderr
    assert not Path(command[-1]).exists()
    assert CliRunner().invoke(app, command).exit_code == 0
    assert sorted(os.listdir()) == sorted(["run.h5", command[-1]])


@pytest.fixture
def table(tmp_path):
    """A user's CSV in units of its own, one column constant."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3)) * [100, 0.01, 1] + [1000, 0, -5]
    lines = [f"{a},{b},{c},7,{'spam' if a > 1000 else 'ham'}" for a, b, c in x]
    path = tmp_path / "mail.csv"
    path.write_text("a,b,c,d,kind\n" + "\n".join(lines) + "\n")
    return path


@pytest.mark.long
def test_own_data_come_back_in_their_own_units(tmp_path, table):
    attack = Choice("rmd", {"outer_steps": 6, "inner_steps": 8, "batch": 4})
    run = Run(
        Choice("file", {"path": str(table), "target": "kind"}),
        trainer=Choice("sgd", {"epochs": 20}),
        attack=attack,
        fraction=0.2,
    )
    content = poisoncli.evaluate(poisoncli.attack(run, tmp_path / "run.h5"))
    assert np.all(np.isfinite(content.evaluations["none"].test_error))
    export.export(content, tmp_path / "poisoned.npz")
    with np.load(tmp_path / "poisoned.npz") as found:
        raw = np.genfromtxt(table, delimiter=",", skip_header=1, usecols=range(4))
        clean, row = found["poison"] == 0, found["row"] - 1  # data rows count from 1
        np.testing.assert_allclose(found["x"][clean], raw[row[clean]], rtol=1e-5, atol=1e-6)
        assert not np.allclose(found["x"][~clean], raw[row[~clean]], rtol=1e-3)
        assert np.all((found["x"] >= raw.min(0) - 1e-4) & (found["x"] <= raw.max(0) + 1e-4))
        assert found["poison"].sum() == content.poison.counts[-1]
        np.testing.assert_array_equal(found["replaced"], np.where(clean, -1, found["row"]))
        labels = np.genfromtxt(table, delimiter=",", skip_header=1, usecols=4, dtype=str) == "spam"
        np.testing.assert_array_equal(found["y"] == labels[row], clean)
