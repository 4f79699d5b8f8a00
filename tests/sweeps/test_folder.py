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


def test_failures_are_kept_until_they_are_forgotten(tmp_path):
    state = Folder(parse("", "test"), tmp_path)
    assert state.failure(CELL) is None
    folder.put_failure(tmp_path, CELL, Failure("it diverged", "process 1 on here"))
    assert state.failure(CELL) == Failure("it diverged", "process 1 on here")
    assert [folder.add_death(tmp_path, "a", "signal 9") for _ in range(3)] == [1, 2, 3]
    (tmp_path / ".sweep" / "a.failed").write_text("{")
    assert "cannot be read" in state.failure(CELL).reason
    folder.forget_failures(tmp_path)
    assert state.failure(CELL) is None
    state.tidy()
    assert not list(tmp_path.iterdir())
