"""Units in several processes: cores are divided, the dead replaced, and Ctrl-C ends all."""

import os
import signal
import subprocess
import sys
import time

import pytest
from sweeps.small import GROUP, TEXT, same_bits, small

from poisoncli.core.errors import FailedError
from poisoncli.sweeps import workers
from poisoncli.sweeps.claims import Claims
from poisoncli.sweeps.drive import execute
from poisoncli.sweeps.workers import shares


def test_cores_are_divided(monkeypatch):
    monkeypatch.setattr(workers, "usable_cores", lambda: 5)
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: {3, 4, 5, 8, 9})
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [share.cores for share in shares(2)] == [(3, 4), (5, 8, 9)]
    assert [share.environment["OMP_NUM_THREADS"] for share in shares(2)] == ["2", "3"]
    assert [share.cores for share in shares(6)] == [(3,), (3,), (4,), (5,), (8,), (9,)]
    monkeypatch.setattr(workers, "usable_cores", lambda: 2)  # a container that allows two of them
    assert [share.cores for share in shares(2)] == [(), ()]


def test_each_worker_has_a_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert [share.environment["CUDA_VISIBLE_DEVICES"] for share in shares(2)] == ["2", "5"]
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in shares(2)[0].environment
    assert {share.environment["XLA_PYTHON_CLIENT_MEM_FRACTION"] for share in shares(4)} == {"0.38"}


@pytest.mark.long
def test_two_workers_make_what_one_process_makes_though_some_are_killed(tmp_path):
    text = TEXT + GROUP.split("[line", 1)[0].replace("[base]", "[panel.digits]") + "[panel.moons]\n"
    text = text.replace("\n\n[panel", "\n[panel")
    alone, killed, told, steps = tmp_path / "alone", tmp_path / "killed", [], []
    execute(small(text), alone)
    victims = set()

    def kill(done, total, what):
        steps.append((done, total))
        for claim in Claims(killed / ".sweep").all().values():
            if len(victims) < 2 and claim.process not in (0, os.getpid(), *victims):
                victims.add(claim.process)
                os.kill(claim.process, signal.SIGKILL)

    outcomes = execute(small(text), killed, workers=2, report=kill, finished=told.append)
    assert len(victims) == 2
    assert {outcome.status for outcome in outcomes} == {"done"}
    assert len(told) == len(outcomes) == len(small(text).cells)
    assert {total for _, total in steps} == {1000 * len(outcomes)}
    same_bits(alone, killed)
    assert not (killed / ".sweep").exists()


KILLER = """
import os, signal
from typing import ClassVar
from poisoncli.attacks.flip import Flip
from poisoncli.core.method import method

@method
class Killer(Flip):
    \"\"\"Ends its process (2026).\"\"\"
    name: ClassVar[str] = "killer"
    def craft(self, key, problem, begun=None):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.long
def test_a_unit_that_kills_its_process_three_times_has_failed(tmp_path):
    from poisoncli.runs import plugins

    (tmp_path / "killer.py").write_text(KILLER)
    plugins.load([tmp_path / "killer.py"])
    text = '[base]\nattack = "killer"\nn_train = 30\nn_val = 10\nn_test = 10\n[line.worse]\n'
    (outcome,) = execute(small(text), tmp_path / "out", plugin_files=[str(tmp_path / "killer.py")], workers=1)
    assert (outcome.status, outcome.reason) == ("failed", "its process died (signal 9, out of memory?)")


@pytest.mark.long
def test_a_worker_that_is_killed_as_it_starts_is_replaced(tmp_path, monkeypatch):
    original, killed = workers._Worker.start, []

    def start(worker, unit):
        original(worker, unit)
        if len(killed) < 2:
            killed.append(worker.process.pid)
            worker.process.kill()

    monkeypatch.setattr(workers._Worker, "start", start)
    outcomes = execute(small(), tmp_path, workers=1)
    assert [outcome.status for outcome in outcomes] == ["done"] * 3
    assert not (tmp_path / ".sweep").exists()


def test_a_worker_that_cannot_begin_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "_serve", os.abort)
    with pytest.raises(FailedError, match="ended before it began"):
        execute(small(), tmp_path, workers=1)


HEARD = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)  # the jobs in the background of a shell are deaf to it
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.long
def test_an_interruption_ends_all_with_a_sentence_and_keeps_the_checkpoints(tmp_path):
    (tmp_path / "plan.toml").write_text(
        GROUP.replace("outer_steps = 4, inner_steps = 5, batch = 4", "outer_steps = 4000, batch = 2")
    )
    words = ["-m", "poisoncli", "sweep", "--config", "plan.toml", "--out", "out", "--workers", "2"]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    process = subprocess.Popen([sys.executable, "-c", HEARD, *words], cwd=tmp_path, **options)
    while not list((tmp_path / "out").glob(".sweep/*/*.partial")):
        assert process.poll() is None
        time.sleep(0.1)
    begun = [claim.process for claim in Claims(tmp_path / "out" / ".sweep").all().values()]
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.count("\n") == 1
    assert said.startswith("poison: interrupted after 1 of 3 runs: the same command goes on, from out/.sweep/")
    assert all(claim.released for claim in Claims(tmp_path / "out" / ".sweep").all().values())
    for number in begun:
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)
