"""Two writers of one run file: the second waits or is refused, and nothing is lost."""

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import poisoncli
from poisoncli import Choice, FailedError, PoisonError, Run
from poisoncli.cli import app
from poisoncli.runs import export, run_file, stages, update
from poisoncli.runs.export import new_file
from poisoncli.tables.lock import writing

FLIPS = Run(
    dataset=Choice("digits"),
    attack=Choice("flip"),
    trainer=Choice("sgd", {"epochs": 5}),
    n_train=30,
    n_val=10,
    n_test=10,
    fraction=0.2,
)
HOLD = """
import sys, time
from pathlib import Path
from poisoncli.tables.lock import writing
with writing(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def path(tmp_path):
    return poisoncli.attack(FLIPS, tmp_path / "run.h5")


def holder(path, seconds):
    """A process that holds the lock of `path`."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, path, str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def held(path, **how):
    """Take the lock and leave it; the seconds that this took."""
    begun = time.monotonic()
    with writing(path, **how):
        return time.monotonic() - begun


def test_the_second_writer_waits_and_says_for_whom(tmp_path):
    says = r"waiting for process \d+ on .*, which writes .*run\.h5"
    with holder(tmp_path / "run.h5", 1.0), pytest.warns(UserWarning, match=says):
        seconds = held(tmp_path / "run.h5")
    assert seconds > 0.5
    assert not list(tmp_path.iterdir())


def test_a_lock_is_met_through_a_link(tmp_path):
    (tmp_path / "link.h5").symlink_to("run.h5")
    with holder(tmp_path / "run.h5", 60) as first:
        with pytest.raises(PoisonError, match=rf"link\.h5 is being written by process {first.pid}"):
            held(tmp_path / "link.h5", wait=False)
        first.kill()


def test_a_killed_holder_blocks_nobody(tmp_path):
    with holder(tmp_path / "run.h5", 60) as first:
        first.send_signal(signal.SIGKILL)
    assert [item.name for item in tmp_path.iterdir()] == [".run.h5.lock"]
    held(tmp_path / "run.h5", wait=False)
    assert not list(tmp_path.iterdir())


def count(path, times):
    for _ in range(times):
        with writing(path):
            path.write_text(str(int(path.read_text()) + 1))


@pytest.mark.filterwarnings("ignore:waiting for")
def test_no_two_hold_a_lock_though_its_file_comes_and_goes(tmp_path):
    path = tmp_path / "count"
    path.write_text("0")
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=counting, args=(path, 200)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert path.read_text() == "800"
    assert os.listdir(tmp_path) == ["count"]


def counting(path, times):
    import warnings

    warnings.simplefilter("ignore")
    count(path, times)


def test_an_attack_on_a_file_that_is_being_crafted_is_refused_and_a_resumed_one_waits(tmp_path):
    path = tmp_path / "run.h5"
    with holder(tmp_path / "run.h5.partial", 60) as first:
        for force in (False, True):
            with pytest.raises(PoisonError, match=rf"run\.h5 is being written by process {first.pid}"):
                poisoncli.attack(FLIPS, path, force=force)
        first.kill()
    with holder(tmp_path / "run.h5.partial", 0.5), pytest.warns(UserWarning, match="waiting for process"):
        poisoncli.attack(FLIPS, path, resume=True)
    assert os.listdir(tmp_path) == ["run.h5"]


def during(monkeypatch, name, action):
    """Let `action` happen while the stage computes, once."""
    original = getattr(stages, name)

    def computing(*args, **kwargs):
        found = original(*args, **kwargs)
        monkeypatch.undo()
        action()
        return found

    monkeypatch.setattr(stages, name, computing)


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


def test_what_is_no_place_for_a_run_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(PoisonError, match="is a device or a pipe"):
            poisoncli.attack(FLIPS, place, force=True)


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


@pytest.mark.slow
def test_fifty_rounds_of_two_writers_lose_nothing():
    place = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.writers", "50"],
        cwd=place.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
