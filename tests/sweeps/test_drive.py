"""A small sweep runs to its figure; what is finished is not run again."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sweeps.small import BAD, TEXT, aged, dead, same_bits, small
from typer.testing import CliRunner

import poisoncli
from poisoncli.cli import app
from poisoncli.core.errors import FailedError
from poisoncli.runs import description, run_file, serialize
from poisoncli.sweeps import folder, naming
from poisoncli.sweeps.claims import Claims
from poisoncli.sweeps.drive import execute
from poisoncli.sweeps.plan import PRESETS, load, parse
from poisoncli.sweeps.units import run_unit

SMALL = {"outer_steps": 3, "inner_steps": 10, "batch": 8}


def poison(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def tiny(name):
    """A preset of SPR with few rows and steps."""
    fields = ", ".join(f"{key} = {value}" for key, value in SMALL.items())
    changes = f'\n[override]\nn_train = 50\nattack = {{ name = "stealthy", {fields} }}\n'
    return (PRESETS / f"{name}.toml").read_text(encoding="utf-8") + changes


@pytest.mark.long
@pytest.mark.parametrize("name", ["spr-fig3", "spr-fig9", "spr-fig14"])
def test_a_preset_runs_to_its_figure_and_is_not_run_again(name, tmp_path):
    plan, folder = tmp_path / "plan.toml", tmp_path / "out"
    plan.write_text(tiny(name))
    result = poison("sweep", "--config", plan, "--out", folder, "-q")
    assert result.exit_code == 0, result.output
    cells = load(plan).cells
    assert [line.split()[-1] for line in result.stdout.splitlines()] == ["done"] * len(cells)
    before = {path: path.read_bytes() for path in folder.glob("*.h5")}
    again = poison("sweep", "--config", plan, "--out", folder, "-q")
    assert [line.split()[-1] for line in again.stdout.splitlines()] == ["skipped"] * len(cells)
    assert {path: path.read_bytes() for path in folder.glob("*.h5")} == before
    drawn = poison("report", folder, "-q")
    assert drawn.exit_code == 0, drawn.output
    assert (folder / "figure.png").stat().st_size > 10_000


@pytest.mark.long
def test_options_of_a_defense_reach_it(tmp_path):
    plan = parse(tiny("spr-fig14"), "here")
    execute(plan, tmp_path)
    choice = serialize.choice_from_json(run_file.read(next(tmp_path.glob("10.*.h5"))).defenses["bayesclean"].choice)
    assert (choice.options["c1"], choice.options["c2"]) == (1.0, 2.0)


@pytest.mark.long
def test_the_way_of_a_point_leads_from_its_start_to_its_end(tmp_path):
    plan = parse(tiny("spr-fig3"), "here")
    execute(plan, tmp_path)
    poison, split = (lambda content: (content.poison, content.split))(
        run_file.read(next(tmp_path.glob("alpha-1-0.*.h5")))
    )
    stages = len(poison.counts)
    assert poison.trail.shape == (1, stages, 3, 2)
    assert np.isnan(poison.trail[:, 0]).all()
    assert np.isfinite(poison.trail[:, 1:]).all()
    data = description.build(description.Choice("line", {"seed": 0}), "dataset").load()
    train = split["train"][0]
    x = (data.x[train, 0] - data.x[train, 0].mean()) / data.x[train, 0].std()
    for stage in range(1, stages):
        first = poison.counts[stage - 1]
        assert poison.trail[0, stage, 0, 0] == pytest.approx(x[poison.replaced[0, first]], abs=1e-4)
        step = np.linalg.norm(np.r_[poison.x[0, first], poison.y[0, first]] - poison.trail[0, stage, -1])
        assert step <= 0.9 + 1e-5


@pytest.mark.long
def test_a_sweep_defends_and_draws_every_run(tmp_path):
    text = """
    title = "two"
    defend = ["trim", "bayesclean"]
    [base]
    dataset = "line"
    n_train = 40
    fraction = 0.2
    [line."alpha = 1"]
    attack = { name = "stealthy", outer_steps = 3, inner_steps = 10, batch = 8 }
    """
    plan, folder = parse(text, "here"), tmp_path / "out"
    assert [outcome.status for outcome in execute(plan, folder)] == ["done"]
    assert [outcome.status for outcome in execute(plan, folder)] == ["skipped"]
    assert CliRunner().invoke(app, ["report", str(folder)]).exit_code == 0
    assert (folder / "alpha-1.png").stat().st_size > 10_000


def test_a_sweep_without_loans_file_skips_it_and_says_where_it_is_to_be_had(tmp_path):
    text = """
    [base]
    model = "linear"
    n_train = 40
    fraction = 0.2
    attack = { name = "stealthy", outer_steps = 2, inner_steps = 5, batch = 8 }
    [panel."Loan"]
    dataset = "loan"
    [panel."Line"]
    dataset = "line"
    """
    outcomes = execute(parse(text, "here"), tmp_path / "out", data_dir=str(tmp_path))
    assert [outcome.status for outcome in outcomes] == ["skipped", "done"]
    assert "loan-processed.csv" in outcomes[0].reason
    assert "Jagielski" in outcomes[0].reason


def statuses(outcomes):
    return [outcome.status for outcome in outcomes]


def test_a_sweep_of_the_api_has_its_table_too(tmp_path):
    poisoncli.sweep(small(), tmp_path)
    found = pd.read_csv(tmp_path / "sweep.csv")
    assert set(found["cell"]) == {"one", "two", "three"}
    assert (tmp_path / "sweep.parquet").exists() == (importlib.util.find_spec("pyarrow") is not None)


def test_two_drivers_share_the_runs(tmp_path):
    """The second begins while the first runs, and does what is left."""
    other = []

    def finished(outcome):
        if not other:
            other.extend(execute(small(), tmp_path / "shared"))

    alone = execute(small(), tmp_path / "alone")
    outcomes = execute(small(), tmp_path / "shared", finished=finished)
    assert statuses(alone) == statuses(outcomes) == ["done"] * 3
    assert [one.reason for one in outcomes] == ["", "by another process", "by another process"]
    assert statuses(other) == ["skipped", "done", "done"]
    same_bits(tmp_path / "alone", tmp_path / "shared")


def test_who_finds_all_claimed_waits_and_says_for_whom(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("poisoncli.sweeps.drive._FIRST", 0.5)
    naming.begin(small(), tmp_path)
    for name in ("two", "three"):
        run_unit(tmp_path, name)
    held, steps = Claims(folder.hidden(tmp_path)).take("one"), []

    def report(done, total, what):
        steps.append(what)
        if len(steps) == 2:
            held.__exit__(None, None, None)

    with caplog.at_level("INFO"):
        assert statuses(execute(small(), tmp_path, report=report)) == ["done", "skipped", "skipped"]
    assert steps[0].startswith(f"waiting for process {os.getpid()} on ")
    assert "others craft what is left (1): waiting for process" in caplog.text


def test_failures_stop_nothing_and_are_tried_again_when_asked(tmp_path):
    sweep = small(TEXT.replace("[line.one]", f"{BAD}[line.one]"))

    def record():
        (path,) = (tmp_path / ".sweep").glob("bad.*.failed")
        return path.stat().st_mtime_ns

    assert statuses(execute(sweep, tmp_path)) == ["failed", "done", "done", "done"]
    first = record()
    assert statuses(execute(sweep, tmp_path)) == ["failed", "skipped", "skipped", "skipped"]
    assert record() == first
    again = execute(sweep, tmp_path, retry_failed=True)
    assert statuses(again) == ["failed", "skipped", "skipped", "skipped"]
    assert record() > first


def test_the_first_failure_stops_a_sweep_that_is_to_fail_fast(tmp_path):
    sweep = small(TEXT.replace("[line.one]", f"{BAD}[line.one]"))
    assert statuses(execute(sweep, tmp_path, fail_fast=True)) == ["failed"]
    assert not list(tmp_path.glob("*.h5"))


def test_a_file_system_without_hard_links_does(tmp_path, monkeypatch):
    execute(small(), tmp_path / "links")

    def refused(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    assert statuses(execute(small(), tmp_path / "none")) == ["done"] * 3
    same_bits(tmp_path / "links", tmp_path / "none")


ON_A_FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
from poisoncli.__main__ import main
sys.argv = ["poison", "sweep", "--config", "plan.toml", "--out", "out", "-q"]
main()
"""


def test_a_disk_without_room_ends_the_sweep_with_a_sentence(tmp_path):
    (tmp_path / "plan.toml").write_text(TEXT)
    options = {"cwd": tmp_path, "capture_output": True, "text": True, "check": False}
    done = subprocess.run([sys.executable, "-c", ON_A_FULL_DISK], **options)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "File too large): free some space there, and repeat the command" in done.stderr
    assert statuses(execute(small(), tmp_path / "out")) == ["done"] * 3


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path, monkeypatch):
    execute(small(), tmp_path / "out")
    for path in (tmp_path / "out").glob("*.h5"):
        path.unlink()
    original = os.open

    def denied(path, *rest, **kept):
        if str(path).endswith(".claim"):
            raise PermissionError(13, "Permission denied")
        return original(path, *rest, **kept)

    monkeypatch.setattr("poisoncli.sweeps.claims.os.open", denied)
    with pytest.raises(FailedError, match="make the folder writable"):
        execute(small(), tmp_path / "out")


def test_help_from_a_folder_alone(tmp_path):
    naming.begin(small(), tmp_path)
    helped = poison("sweep", tmp_path, "--join", "-q")
    assert helped.exit_code == 0, helped.output
    assert [line.split()[-1] for line in helped.stdout.splitlines()] == ["done"] * 3
    for words, said in [
        ((tmp_path,), "give DIR with either --join or --status"),
        (("--join",), "give DIR with either --join or --status"),
        ((tmp_path, "--join", "--status"), "give DIR with either --join or --status"),
        ((tmp_path, "--join", "--seed", "3"), "--seed is of no use here"),
        ((tmp_path, "--status", "--workers", "2"), "--workers is of no use here"),
        ((tmp_path / "other", "--join"), "holds no sweep"),
    ]:
        refused = poison("sweep", *words)
        assert refused.exit_code == 2
        assert said in refused.stderr.replace("\n", " ")


def test_the_runs_of_a_host_that_is_gone_are_done_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("poisoncli.sweeps.claims.WATCH", 0.3)
    monkeypatch.setattr("poisoncli.sweeps.drive._FIRST", 0.5)
    naming.begin(small(), tmp_path)
    place = folder.hidden(tmp_path)
    aged(place, dead(place, "two", system="another host"), 3600)
    dead(place, "three")  # of this host: no need to wait
    told = []
    outcomes = execute(small(), tmp_path, finished=lambda outcome: told.append(outcome.cell.name))
    assert statuses(outcomes) == ["done"] * 3
    assert told == ["one", "three", "two"]
    assert not place.exists()


def test_a_unit_in_which_three_hosts_fell_silent_has_failed(tmp_path, monkeypatch):
    monkeypatch.setattr("poisoncli.sweeps.claims.WATCH", 0.3)
    monkeypatch.setattr("poisoncli.sweeps.drive._FIRST", 0.5)
    naming.begin(small(), tmp_path)
    place = folder.hidden(tmp_path)
    for _ in range(2):
        folder.add_deaths(tmp_path, "two", "process 7 on far fell silent")
    aged(place, dead(place, "two", system="another host", host="far"), 3600)
    outcomes = execute(small(), tmp_path)
    assert statuses(outcomes) == ["done", "failed", "done"]
    assert "on far fell silent" in outcomes[1].reason
    assert statuses(execute(small(), tmp_path, retry_failed=True)) == ["skipped", "done", "skipped"]


def test_what_the_killed_left_beside_finished_runs_is_removed(tmp_path):
    naming.begin(small(), tmp_path)
    run_unit(tmp_path, "one")
    place = folder.hidden(tmp_path)
    dead(place, "one")  # killed when all was published
    (place / "one").mkdir()
    folder.add_deaths(tmp_path, "one", "signal 9")
    assert statuses(execute(small(), tmp_path)) == ["skipped", "done", "done"]
    assert not place.exists()
