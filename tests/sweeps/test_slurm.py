"""Units as jobs: of submitit's local executor, under time limits; what Slurm is told."""

import importlib.util
import signal
import subprocess
import sys
import time

import pytest
from sweeps.small import TEXT, same_bits, small

from poisoncli import FailedError, PoisonError, Run
from poisoncli.runs import plugins, run_file, stages
from poisoncli.runs.description import Choice
from poisoncli.sweeps import folder, naming
from poisoncli.sweeps.claims import Claims
from poisoncli.sweeps.drive import execute
from poisoncli.sweeps.slurm import Slurm, Task

needed = pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="submitit is not installed")
SLOW = '''
import os
import time
from typing import ClassVar

from poisoncli.attacks.rmd import RMD
from poisoncli.bilevel import schedule
from poisoncli.core.method import method

schedule.CALL_SECONDS = 0  # a step in each call

@method
class Slow(RMD):
    """Takes its time between two steps (2026)."""

    name: ClassVar[str] = "slow"

    def craft(self, key, problem, resume=None):
        for poison in RMD.craft(self, key, problem, resume):
            yield poison
            time.sleep(float(os.environ.get("SECONDS_A_STEP", "0")))
'''
LIMITED = """
base.attack = { name = "slow", outer_steps = 8, inner_steps = 5, batch = 4 }
base.n_train = 60
base.fraction = 0.2
"""


def quiet(running):
    pass


@needed
@pytest.mark.long
def test_jobs_end_as_an_undisturbed_sweep(tmp_path):
    execute(small(), tmp_path / "whole")
    outcomes = execute(small(), tmp_path / "jobs", slurm=["cluster=local,timeout_min=5"])
    assert [outcome.status for outcome in outcomes] == ["done"] * 3
    same_bits(tmp_path / "whole", tmp_path / "jobs")


@needed
@pytest.mark.long
def test_a_job_at_its_time_limit_is_requeued_and_goes_on(tmp_path, monkeypatch):
    (tmp_path / "slow.py").write_text(SLOW)
    file = [str(tmp_path / "slow.py")]
    plugins.load(file)
    monkeypatch.setattr("poisoncli.bilevel.schedule.CALL_SECONDS", 0)
    execute(small(LIMITED), tmp_path / "whole", plugin_files=file)
    monkeypatch.setenv("SECONDS_A_STEP", "2.5")  # 24 steps: a minute
    options = ["cluster=local", "timeout_min=1", "signal_delay_s=20"]  # the signal after 40 seconds
    outcomes = execute(small(LIMITED), tmp_path / "jobs", plugin_files=file, slurm=options)
    assert [one.status for one in outcomes] == ["done"]
    logs = "".join(path.read_text() for path in (tmp_path / "jobs" / ".sweep" / "slurm").rglob("*.[eo][ru][rt]"))
    assert logs.count("Starting with JobEnvironment") > 1
    assert logs.count("Requeued job") == logs.count("Starting with JobEnvironment") - 1
    same_bits(tmp_path / "whole", tmp_path / "jobs")
    del plugins.TABLES["attack"]["slow"]


@needed
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["partition"], "sets nothing"),
        (["timeout_min=soon"], "is no number"),
        (["partition=gpu"], "srun"),
    ],
)
def test_what_slurm_cannot_be_told_is_refused(options, says, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PoisonError, match=says):
        Slurm(tmp_path, options, None, (), quiet)


@needed
def test_an_array_asks_slurm_for_what_the_user_says(tmp_path, monkeypatch):
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("srun", "sbatch", "sacct"):
        (commands / name).write_text('#!/bin/sh\ncp "$1" "$0.sent" 2>/dev/null\necho Submitted batch job 12\n')
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:/usr/bin:/bin")
    with Slurm(tmp_path, ["partition=gpu,timeout_min=30,mem_gb=4", "gpus_per_node=1"], None, (), quiet) as jobs:
        from poisoncli.sweeps.units import units

        assert jobs.free() > 3
        for unit in units(small()):
            jobs.start(unit)
        jobs.ended(0)
        sent = (commands / "sbatch.sent").read_text()
    for line in ("--partition=gpu", "--time=30", "--gpus-per-node=1", "--mem=4GB", "--array=0-2", "--signal=USR2"):
        assert line in sent


@needed
def test_a_task_goes_on_as_itself():
    task = Task("folder", "unit", None, ("mine.py",))
    assert task.checkpoint().function is task


CANCELED = """
import sys
from poisoncli.sweeps.slurm import Task
Task(sys.argv[1], "one", None, ())()
"""


@pytest.mark.long
def test_a_job_that_is_canceled_keeps_its_checkpoint_and_lets_its_claim_go(tmp_path):
    steps = '{ name = "rmd", outer_steps = 200000, inner_steps = 20, batch = 4 }'
    naming.begin(small(TEXT.replace('"flip"', steps)), tmp_path)
    job = subprocess.Popen([sys.executable, "-c", CANCELED, str(tmp_path)])
    while not list(tmp_path.glob(".sweep/one/*.partial")):
        assert job.poll() is None
        time.sleep(0.1)
    before = folder.progress(tmp_path, "one")
    job.send_signal(signal.SIGTERM)
    assert job.wait(60) == 128 + signal.SIGTERM
    assert Claims(tmp_path / ".sweep").all()["one"].released
    assert folder.progress(tmp_path, "one") > before


def test_a_job_that_is_stopped_keeps_its_checkpoint(tmp_path, monkeypatch):
    run = Run(attack=Choice("rmd", {"outer_steps": 4, "inner_steps": 5, "batch": 4}), n_train=40, fraction=0.2)

    def stop(done, total, what):
        if "crafting" in what and done == 3:
            raise SystemExit(144)

    whole = run_file.read(stages.attack(run, tmp_path / "whole.h5"))
    monkeypatch.setattr("poisoncli.bilevel.schedule.CALL_SECONDS", 0)
    with pytest.raises(SystemExit):
        stages.attack(run, tmp_path / "run.h5", report=stop)
    assert run_file.read(tmp_path / "run.h5.partial", unfinished=True).poison.done == 3
    again = run_file.read(stages.attack(run, tmp_path / "run.h5", resume=True))
    assert (again.poison.x == whole.poison.x).all()


def test_without_submitit_its_name_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    with pytest.raises(PoisonError, match=r"poisoncli\[slurm\]"):
        Slurm(tmp_path, ["partition=gpu"], None, (), quiet)
    assert not issubclass(PoisonError, FailedError)
