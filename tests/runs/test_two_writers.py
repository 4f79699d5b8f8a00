"""Two writers of one run file: the second waits or is refused, and nothing is lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lock_holder import holder
from small_run import FLIPS

import poisoncli
from poisoncli import PoisonError


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


def test_what_is_no_place_for_a_run_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(PoisonError, match="is a device or a pipe"):
            poisoncli.attack(FLIPS, place, force=True)


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
