"""Units: any process runs one by its name; what was done is kept, and published once."""

import dataclasses
import os

import numpy as np
import pytest
from sweeps.small import BAD, GROUP, TEXT, same_bits, small

from poisoncli.core.errors import Interrupted, MissingDataError, PoisonError, UnwritableError
from poisoncli.runs import run_file
from poisoncli.sweeps import folder, naming, units
from poisoncli.sweeps.claims import Claim, Claims
from poisoncli.sweeps.folder import Folder
from poisoncli.sweeps.plan import run_path
from poisoncli.sweeps.units import give_up, run_unit


def begun(place, text=TEXT):
    """A sweep in a folder, and what the folder tells of it."""
    sweep = naming.begin(small(text), place)
    return sweep, Folder(sweep, place)


def statuses(outcomes):
    return [outcome.status for outcome in outcomes]


def test_units_are_named_by_their_first_cell():
    assert [unit.name for unit in units.units(small(GROUP))] == ["clean+1", "flip"]


def test_a_unit_is_run_by_its_name_and_once(tmp_path):
    begun(tmp_path)
    assert statuses(run_unit(str(tmp_path), "one")) == ["done"]
    assert statuses(run_unit(str(tmp_path), "one")) == ["skipped"]
    assert not list((tmp_path / ".sweep").iterdir())
    with pytest.raises(PoisonError, match="no unit named 'four'"):
        run_unit(tmp_path, "four")
    with pytest.raises(PoisonError, match="holds no sweep"):
        run_unit(tmp_path / "elsewhere", "one")


def test_a_unit_that_another_has_claimed_is_left_to_him(tmp_path):
    _, state = begun(tmp_path)
    with Claims(folder.hidden(tmp_path)).take("one"):
        found = run_unit(tmp_path, "one")
    assert statuses(found) == ["running"]
    assert found[0].reason.startswith(f"process {os.getpid()} on ")
    assert not state.names() & {"one"}


def stopping(done, within):
    def report(now, total, what):
        if within in what and now == done:
            raise KeyboardInterrupt

    return report


@pytest.mark.long
def test_a_group_that_was_interrupted_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr("poisoncli.bilevel.schedule.CALL_SECONDS", 0)
    whole, again = tmp_path / "whole", tmp_path / "again"
    begun(whole, GROUP)
    assert statuses(run_unit(whole, "clean+1")) == ["done", "done"]
    begun(again, GROUP)
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        run_unit(again, "clean+1", report=stopping(5, "crafting"))
    (partial,) = (again / ".sweep" / "clean+1").glob("*.partial")
    assert run_file.read(partial, unfinished=True).poison.done == 5
    with pytest.raises((KeyboardInterrupt, Interrupted)):  # taken over, and interrupted again
        run_unit(again, "clean+1", report=stopping(0, "large: training the victim"))
    assert [path.name.split(".")[0] for path in again.glob("*.h5")] == ["clean"]
    assert folder.progress(again, "clean+1") == [1, 2, 0]  # the scores of one of two that are crafted
    seen = []
    run_unit(again, "clean+1", report=lambda done, total, what: seen.append(what))
    assert not any("crafting" in what for what in seen)
    same_bits(whole, again)


def test_a_failed_cell_leaves_its_reason_and_is_not_tried_again(tmp_path):
    begun(tmp_path, TEXT + BAD)
    found = run_unit(tmp_path, "bad")
    assert statuses(found) == ["failed"]
    assert "diverged" in found[0].reason
    assert run_unit(tmp_path, "bad", report=lambda *_: pytest.fail("tried again")) == found
    folder.forget_failures(tmp_path)
    assert statuses(run_unit(tmp_path, "bad")) == ["failed"]


def test_what_is_no_error_of_the_user_fails_its_cell_with_a_trace(tmp_path, monkeypatch):
    sweep, state = begun(tmp_path)

    def broken(*_, **__):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("poisoncli.runs.stages.attack", broken)
    (found,) = run_unit(tmp_path, "one")
    assert (found.status, found.reason) == ("failed", "failed unexpectedly (ZeroDivisionError: by zero)")
    assert "in broken" in state.failure(sweep.cells[0]).traceback


def test_a_file_of_the_user_that_cannot_be_read_fails_its_cell_alone(tmp_path, monkeypatch):
    begun(tmp_path)

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied", "/their/rows.csv")

    monkeypatch.setattr("poisoncli.runs.stages.attack", denied)
    (found,) = run_unit(tmp_path, "one")
    assert (found.status, "rows.csv" in found.reason) == ("failed", True)


def test_data_that_are_not_at_hand_here_may_be_elsewhere(tmp_path, monkeypatch):
    sweep, state = begun(tmp_path)

    def missing(*_, **__):
        raise MissingDataError("put it there")

    monkeypatch.setattr("poisoncli.runs.stages.attack", missing)
    (found,) = run_unit(tmp_path, "one")
    assert (found.status, found.reason) == ("skipped", "put it there")
    assert state.failure(sweep.cells[0]) is None
    monkeypatch.undo()
    assert statuses(run_unit(tmp_path, "one")) == ["done"]


@pytest.mark.parametrize("number", [28, 13], ids=["full", "denied"])
def test_a_disk_that_takes_nothing_is_no_failure_of_a_cell(tmp_path, monkeypatch, number):
    sweep, state = begun(tmp_path)
    original = os.replace

    def refused(source, target):
        if str(target).endswith(".h5"):
            raise OSError(number, os.strerror(number))
        original(source, target)

    monkeypatch.setattr("poisoncli.tables.atomic.os.replace", refused)
    with pytest.raises(UnwritableError, match=r"cannot write .*repeat the command"):
        run_unit(tmp_path, "one")
    assert state.failure(sweep.cells[0]) is None
    monkeypatch.undo()
    assert statuses(run_unit(tmp_path, "one")) == ["done"]


def test_who_lost_his_claim_lets_go_and_replaces_nothing(tmp_path):
    begun(tmp_path)

    def overtaken(done, total, what):
        for path in (tmp_path / ".sweep").glob("one.0.claim"):
            path.with_name("one.1.claim").touch()
            folder.remove(tmp_path, "one")

    assert statuses(run_unit(tmp_path, "one", report=overtaken)) == ["running"]
    assert not list(tmp_path.glob("*.h5"))
    assert Claims(tmp_path / ".sweep").all()["one"].generation == 1


def test_who_comes_second_keeps_the_result_of_the_first(tmp_path):
    sweep, _ = begun(tmp_path)
    final = run_path(sweep.cells[0], tmp_path)

    def first(done, total, what):  # another, who was thought dead, publishes meanwhile
        if "training the victim" in what and not final.exists():
            other = tmp_path / "other"
            naming.begin(small(), other)
            run_unit(other, "one")
            os.link(run_path(sweep.cells[0], other), final)

    run_unit(tmp_path, "one", report=first)
    assert final.stat().st_ino == run_path(sweep.cells[0], tmp_path / "other").stat().st_ino


def test_an_unfinished_file_of_an_older_version_is_completed(tmp_path):
    """They were crafted, defended and evaluated in their final place."""
    text = TEXT.replace('title = "small"', 'title = "small"\ndefend = ["l2"]')
    sweep, _ = begun(tmp_path / "new", text)
    assert statuses(run_unit(tmp_path / "new", "one")) == ["done"]
    whole = run_file.read(run_path(sweep.cells[0], tmp_path / "new"))
    old = tmp_path / "old"
    old.mkdir()
    (old / "sweep.toml").write_text(text)
    bare = dataclasses.replace(whole, defenses={}, evaluations={"none": whole.evaluations["none"]})
    run_file.write(old / "one.h5", bare)
    run_file.write(old / "two.h5.partial", dataclasses.replace(bare, evaluations={}))
    sweep, state = begun(old, text)
    assert run_path(sweep.cells[0], old) == old / "one.h5"
    assert not state.finished(sweep.cells[0])
    assert statuses(run_unit(old, "one")) == ["done"]
    found = run_file.read(old / "one.h5")
    for name in ("none", "l2"):
        np.testing.assert_array_equal(found.evaluations[name].test_error, whole.evaluations[name].test_error)
    assert statuses(run_unit(old, "two")) == ["done"]  # the checkpoint under its name is of another run
    assert statuses(run_unit(old, "three")) == ["done"]


def test_a_checkpoint_of_an_older_version_is_gone_on_from(tmp_path, monkeypatch):
    monkeypatch.setattr("poisoncli.bilevel.schedule.CALL_SECONDS", 0)
    whole, old = tmp_path / "whole", tmp_path / "old"
    begun(whole, GROUP)
    run_unit(whole, "clean+1")
    begun(old, GROUP)
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        run_unit(old, "clean+1", report=stopping(5, "crafting"))
    (partial,) = (old / ".sweep" / "clean+1").glob("*.partial")
    assert folder.progress(old, "clean+1") == [0, 0, 5]
    os.replace(partial, old / "clean.h5.together.partial")
    folder.remove(old, "clean+1")
    seen = []
    run_unit(old, "clean+1", report=lambda done, total, what: seen.append((done, what)))
    assert min(done for done, what in seen if "crafting" in what) == 6
    same_bits(whole, old)


def test_a_unit_that_is_given_up_has_failed(tmp_path):
    sweep, state = begun(tmp_path)
    one = units.units(sweep)[0]
    with Claims(folder.hidden(tmp_path)).take("one"):
        give_up(tmp_path, one, state, "its process died")
    assert state.failure(sweep.cells[0]) is None  # another is at it
    give_up(tmp_path, one, state, "its process died")
    assert [(one.status, one.reason) for one in run_unit(tmp_path, "one")] == [("failed", "its process died")]
    assert not Claims(tmp_path / ".sweep").all()


def test_claims_of_units_say_what_they_are_at(tmp_path):
    begun(tmp_path)
    found: list[Claim] = []

    def look(done, total, what):
        found.append(Claims(tmp_path / ".sweep").all()["one"])

    run_unit(tmp_path, "one", report=look)
    assert found[0].process == os.getpid()
