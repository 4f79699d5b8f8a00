"""The folder of a sweep: results are published once, failures and deaths are kept, old layouts are taken over."""

import os

import pytest

from poisoncli.core.errors import UnwritableError
from poisoncli.runs.description import Run
from poisoncli.sweeps import folder
from poisoncli.sweeps.folder import Failure, Folder
from poisoncli.sweeps.grid import Cell
from poisoncli.sweeps.plan import parse

CELL = Cell("a", "", "a", Run())


def without_links(monkeypatch):
    def refused(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("poisoncli.sweeps.folder.os.link", refused)


@pytest.mark.parametrize("links", [True, False])
def test_who_comes_second_replaces_nothing(tmp_path, monkeypatch, links):
    if not links:
        without_links(monkeypatch)
    first, second, final = tmp_path / "first", tmp_path / "second", tmp_path / "final"
    first.write_bytes(b"first")
    second.write_bytes(b"second")
    assert folder.publish(first, final)
    assert not folder.publish(second, final)
    assert final.read_bytes() == b"first"
    assert sorted(os.listdir(tmp_path)) == ["final", "first", "second"]


def test_a_place_that_cannot_be_written_to_is_told(tmp_path, monkeypatch):
    (tmp_path / "first").touch()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("poisoncli.sweeps.folder.os.link", full)
    with pytest.raises(UnwritableError, match="No space left on device"):
        folder.publish(tmp_path / "first", tmp_path / "final")
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableError, match="cannot write"):
        folder.hidden(tmp_path / "file")


@pytest.mark.parametrize("said", [17, 5, 1], ids=["exists", "input and output", "not permitted"])
def test_a_link_that_was_made_though_it_is_told_to_have_failed_counts(tmp_path, monkeypatch, said):
    """As NFS does where an answer is lost."""
    first, final, link = tmp_path / "first", tmp_path / "final", os.link
    first.write_bytes(b"first")

    def lost(source, target):
        link(source, target)
        raise OSError(said, os.strerror(said))

    monkeypatch.setattr("poisoncli.sweeps.folder.os.link", lost)
    assert folder.publish(first, final)
    assert final.samefile(first)


def test_a_death_that_cannot_be_kept_is_told(tmp_path):
    (folder.hidden(tmp_path) / "one.died").mkdir()
    with pytest.raises(UnwritableError, match="cannot write"):
        folder.add_deaths(tmp_path, "one", "signal 9")


def test_failures_are_kept_until_they_are_forgotten(tmp_path):
    state = Folder(parse("", "test"), tmp_path)
    assert state.failure(CELL) is None
    folder.put_failure(tmp_path, CELL, Failure("it diverged", "process 1 on here"))
    assert state.failure(CELL) == Failure("it diverged", "process 1 on here")
    assert [folder.add_deaths(tmp_path, "a", "signal 9") for _ in range(3)] == [1, 2, 3]
    (tmp_path / ".sweep" / "a.failed").write_text("{")
    assert "cannot be read" in state.failure(CELL).reason
    folder.forget_failures(tmp_path)
    assert state.failure(CELL) is None
    state.tidy()
    assert not list(tmp_path.iterdir())


def test_deaths_count_anew_once_a_unit_got_further(tmp_path, monkeypatch):
    steps = iter([0, 0, 7, 7, 7, 9])
    monkeypatch.setattr(folder, "progress", lambda *_: [0, 0, next(steps)])
    counted = [folder.add_deaths(tmp_path, "a", "signal 9", count) for count in (1, 1, 1, 2, 1, 1)]
    assert counted == [1, 2, 1, 3, 4, 1]
    (tmp_path / ".sweep" / "a.died").write_text("signal 9\nsignal 9\n")  # by an older version
    monkeypatch.undo()
    assert folder.add_deaths(tmp_path, "a", "signal 9") == 1
