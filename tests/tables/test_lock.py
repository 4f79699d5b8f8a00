"""One writer at a time: the second waits or is refused, and a killed holder blocks nobody."""

import multiprocessing
import os
import signal
import time

import pytest
from lock_holder import holder

from poisoncli import PoisonError
from poisoncli.tables.lock import writing


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
