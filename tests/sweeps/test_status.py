"""What is told of a sweep: done, running and where, failed and why, waiting."""

import json
import os
import platform

import pytest
from sweeps.small import BAD, TEXT, aged, dead, small
from typer.testing import CliRunner

from poisoncli.cli import app
from poisoncli.core.errors import PoisonError
from poisoncli.sweeps import claims, folder, naming, status
from poisoncli.sweeps.claims import Claims
from poisoncli.sweeps.units import run_unit


def test_each_cell_is_told_of(tmp_path):
    naming.begin(small(TEXT + BAD), tmp_path)
    run_unit(tmp_path, "one")
    run_unit(tmp_path, "bad")
    seen = []

    def look(done, total, what):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(claims, "HEARTBEAT", 0)
            seen.append(status.of_folder(tmp_path))

    run_unit(tmp_path, "two", report=look)
    one, two, three, bad = seen[-1]
    assert [cell.status for cell in seen[-1]] == ["done", "running", "waiting", "failed"]
    assert "diverged" in bad.reason
    assert (two.host, two.process) == (platform.node(), os.getpid())
    assert two.silent >= 0
    assert str(two).startswith(f"running: process {os.getpid()} on {platform.node()} since 20")
    assert (str(one), str(three)) == ("done", "waiting")
    assert os.path.exists(one.file)
    assert status.counts(seen[-1]) == {"done": 1, "running": 1, "failed": 1, "waiting": 1}


def test_how_far_a_unit_is(tmp_path):
    naming.begin(small(), tmp_path)
    with Claims(folder.hidden(tmp_path)).take("one") as held:
        held.tell(3, 12, "one: crafting rmd poison")
        held._write()
        found = status.of_folder(tmp_path)[0]
        assert (found.share, found.what) == (0.25, "one: crafting rmd poison")
        assert str(found).endswith(", 25% of one: crafting rmd poison")
    assert "was interrupted" in str(status.of_folder(tmp_path)[0])


def test_the_dead_and_the_silent_are_told(tmp_path):
    naming.begin(small(), tmp_path)
    place = folder.hidden(tmp_path)
    dead(place, "one")
    aged(place, dead(place, "two", system="another host"), 660)
    dead(place, "three", system="another host", host="far", job="Slurm 7")
    one, two, three = status.of_folder(tmp_path)
    assert "has died; whoever comes next goes on from its checkpoint" in str(one)
    assert "no sign of life for 11 minutes" in str(two)
    assert "on far (Slurm 7) since 2026-01-01" in str(three)


def test_a_folder_that_cannot_be_written_to_is_told_of(tmp_path, monkeypatch):
    naming.begin(small(), tmp_path)
    dead(folder.hidden(tmp_path), "one", system="another host", host="far")

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.touch", denied)
    assert "on far" in str(status.of_folder(tmp_path)[0])


def test_the_verb_prints_a_line_a_run_or_json(tmp_path):
    naming.begin(small(), tmp_path)
    run_unit(tmp_path, "one")
    lines = CliRunner().invoke(app, ["sweep", str(tmp_path), "--status"]).stdout.splitlines()
    assert [line.split()[1] for line in lines[:3]] == ["done", "waiting", "waiting"]
    assert lines[3] == "1 done, 0 running, 0 failed, 2 waiting"
    found = json.loads(CliRunner().invoke(app, ["sweep", str(tmp_path), "--status", "--json"]).stdout)
    assert found["counts"] == {"done": 1, "running": 0, "failed": 0, "waiting": 2}
    assert [cell["cell"] for cell in found["cells"]] == ["one", "two", "three"]


def test_a_folder_without_a_sweep_has_no_status(tmp_path):
    with pytest.raises(PoisonError, match="holds no sweep"):
        status.of_folder(tmp_path)
