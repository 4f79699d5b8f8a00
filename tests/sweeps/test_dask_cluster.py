"""Units on a Dask cluster: a scheduler and two workers on this machine, one of them killed."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from sweeps.small import GROUP, dead, same_bits, small, workers_of

from poisoncli import PoisonError
from poisoncli.sweeps import dask_client, dask_cluster, folder, naming, units
from poisoncli.sweeps.drive import execute

needed = pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="Dask is not installed")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
SEEDS = GROUP + '[grid]\nseed = "0:4"\n'


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The scheduler's file, and its two workers' nannies."""
    place = tmp_path_factory.mktemp("dask")
    file = place / "scheduler.json"
    words = ["--scheduler-file", str(file), "--no-dashboard"]

    def start(module, *more, log):
        with open(place / log, "w") as said:
            return subprocess.Popen([sys.executable, "-m", module, *words, *more], cwd=place, stderr=said)

    every = [start("distributed.cli.dask_scheduler", "--port", "0", "--host", "127.0.0.1", log="scheduler.log")]
    workers = (start("distributed.cli.dask_worker", "--nthreads", "1", log=f"worker{n}.log") for n in range(2))
    every.extend(workers)
    until = time.monotonic() + 60
    while not file.exists() and time.monotonic() < until:
        time.sleep(0.1)
    try:
        yield str(file), every[1:]
    finally:
        for process in reversed(every):
            process.terminate()
        for process in every:
            process.wait(30)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    place = tmp_path_factory.mktemp("whole") / "out"
    execute(small(SEEDS), place)
    return place


@needed
@pytest.mark.long
def test_a_worker_that_is_killed_loses_nothing(cluster, whole, tmp_path):
    file, nannies = cluster
    killed = threading.Event()

    def kill(outcome):
        if not killed.is_set():
            (worker,) = workers_of(nannies[:1])
            os.kill(worker, signal.SIGKILL)
            killed.set()

    outcomes = execute(small(SEEDS), tmp_path / "out", scheduler=file, finished=kill)
    assert killed.is_set()
    assert {outcome.status for outcome in outcomes} <= {"done", "skipped"}
    same_bits(whole, tmp_path / "out")


@needed
@pytest.mark.long
def test_files_come_through_the_scheduler_where_no_folder_is_shared(cluster, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_client, "shares", lambda client, hidden: False)
    outcomes = execute(small(SEEDS), tmp_path / "out", scheduler=cluster[0])
    assert {outcome.status for outcome in outcomes} == {"done"}
    same_bits(whole, tmp_path / "out")


class Finished:
    """A future of a task whose unit failed."""

    status = "finished"

    def result(self):
        return "ended", [("one", "failed", "it diverged")], {}

    def release(self):
        pass


def test_a_failure_is_kept_where_no_folder_is_shared(tmp_path):
    sweep = naming.begin(small(), tmp_path)
    executor = object.__new__(dask_cluster.Dask)
    executor._place, executor._shared = tmp_path, False
    unit = units.units(sweep)[0]
    executor._tasks = {"one": dask_cluster._Task(unit, Finished(), contextlib.ExitStack(), [0, 0, 0], 0)}
    assert executor._ended("one").outcomes[0].status == "failed"
    assert folder.Folder(sweep, tmp_path).failure(sweep.cells[0]).reason == "it diverged"


class KilledWorker(Exception):
    """As that of Dask."""


class Failed:
    """A future of a task whose workers were killed."""

    status = "error"

    def exception(self):
        return KilledWorker("four of them")


@pytest.mark.parametrize(
    ("begun", "shared", "counted"),
    [
        (4, True, 4),  # claimed by four workers that were killed
        (2, True, 2),  # by two: the others were killed before they had begun it
        (0, True, 1),
        (0, False, folder.DEATHS),  # claims are not seen here
    ],
)
def test_workers_count_that_were_killed_at_a_unit(tmp_path, begun, shared, counted):
    executor = object.__new__(dask_cluster.Dask)
    executor._place, executor._shared = tmp_path, shared
    folder.hidden(tmp_path)
    unit = units.units(small())[0]
    task = dask_cluster._Task(unit, Failed(), contextlib.ExitStack(), folder.progress(tmp_path, unit.name), 3)
    dead(tmp_path / ".sweep", unit.name, generation=2 + begun)
    how = executor._died(task).death
    assert how == "KilledWorker: four of them"
    assert folder.add_deaths(tmp_path, unit.name, how) == counted


def test_a_file_that_is_damaged_on_its_way_is_refused(tmp_path):
    executor = object.__new__(dask_cluster.Dask)
    executor._place = tmp_path
    unit = type("Unit", (), {"name": "one"})()
    with pytest.raises(PoisonError, match="damaged on its way"):
        executor._publish(unit, {"one.h5": (b"other", "0" * 64)})
    assert not list(tmp_path.glob("*.h5"))
