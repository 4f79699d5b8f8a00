"""What defend and evaluate add to a run file that another command changes meanwhile: nothing is lost."""

import dataclasses
import os

import numpy as np
import pytest
from small_run import FLIPS

import poisoncli
from poisoncli import Choice, FailedError, PoisonError
from poisoncli.runs import run_file, stage_scores, stages, update


@pytest.fixture
def path(tmp_path):
    return poisoncli.attack(FLIPS, tmp_path / "run.h5")


def during(monkeypatch, name, action):
    """Let `action` happen while the stage computes, once."""
    module = stage_scores if name == "behind" else stages
    original = getattr(module, name)

    def computing(*args, **kwargs):
        found = original(*args, **kwargs)
        monkeypatch.undo()
        action()
        return found

    monkeypatch.setattr(module, name, computing)


def test_a_defense_that_comes_meanwhile_is_kept(path, monkeypatch):
    during(monkeypatch, "weigh", lambda: poisoncli.defend(path, "knn"))
    content = poisoncli.defend(path, "l2")
    assert set(content.defenses) == set(run_file.read(path).defenses) == {"l2", "knn"}


def test_an_evaluation_and_a_defense_keep_each_other(path, monkeypatch):
    during(monkeypatch, "behind", lambda: poisoncli.defend(path, "l2"))
    poisoncli.evaluate(path)
    content = run_file.read(path)
    assert (set(content.defenses), set(content.evaluations)) == ({"l2"}, {"none"})
    during(monkeypatch, "weigh", lambda: poisoncli.evaluate(path))
    poisoncli.defend(path, "knn")
    content = run_file.read(path)
    assert (set(content.defenses), set(content.evaluations)) == ({"l2", "knn"}, {"none", "l2"})


def test_weights_with_other_options_are_told_of(path, monkeypatch):
    during(monkeypatch, "weigh", lambda: poisoncli.defend(path, Choice("l2", {"remove": 0.1})))
    with pytest.warns(UserWarning, match="another command put l2 with other options there meanwhile"):
        poisoncli.defend(path, Choice("l2", {"remove": 0.2}))
    assert run_file.read(path).defenses["l2"].choice.count("0.2")


def test_an_evaluation_behind_weights_that_are_gone_is_not_kept(path, monkeypatch):
    poisoncli.evaluate(path)
    poisoncli.defend(path, Choice("l2", {"remove": 0.1}))
    during(monkeypatch, "behind", lambda: poisoncli.defend(path, Choice("l2", {"remove": 0.2})))
    with pytest.warns(UserWarning, match="changed the weights of l2 meanwhile: evaluate it again"):
        poisoncli.evaluate(path)
    assert set(run_file.read(path).evaluations) == {"none"}


def test_another_run_in_its_place_stays(path, monkeypatch):
    def replaced():
        poisoncli.attack(dataclasses.replace(FLIPS, seed=1), path, force=True)

    during(monkeypatch, "weigh", replaced)
    with pytest.raises(FailedError, match="replaced by another run meanwhile"):
        poisoncli.defend(path, "l2")
    assert not run_file.read(path).defenses
    during(monkeypatch, "behind", replaced)
    poisoncli.attack(dataclasses.replace(FLIPS, seed=2), path, force=True)
    with pytest.warns(UserWarning, match="evaluation was not saved: .* replaced by another run"):
        assert set(poisoncli.evaluate(path).evaluations) == {"none"}
    assert not run_file.read(path).evaluations


def test_a_full_disk_costs_no_evaluation(path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(UserWarning, match="not saved: .*No space left on device.: free some space"):
        content = poisoncli.evaluate(path)
    assert np.isfinite(content.evaluations["none"].test_error).all()
    assert not run_file.read(path).evaluations


def test_a_file_that_cannot_be_changed_is_told_before_the_work(path, monkeypatch):
    monkeypatch.setattr(update.atomic, "writable", lambda _: False)
    monkeypatch.setattr(stages, "weigh", lambda *_: pytest.fail("it worked in vain"))
    with pytest.raises(PoisonError, match="cannot be changed: make the file and its folder writable"):
        poisoncli.defend(path, "l2")
    with pytest.warns(UserWarning, match="not saved: .* cannot be changed"):
        poisoncli.evaluate(path)
