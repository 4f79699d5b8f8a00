"""Claims: one of many gets it, of two takers one wins, the dead are known at once and the silent after a while."""

import json
import os
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import pytest
from sweeps.small import aged, dead

from poisoncli.core.errors import UnwritableError
from poisoncli.sweeps import claims
from poisoncli.sweeps.claims import Claim, Claims, Held

RACE = """
import sys, time
from pathlib import Path
from poisoncli.sweeps.claims import Claims, Held
folder, begin = Path(sys.argv[1]), float(sys.argv[2])
time.sleep(max(0, begin - time.time()))
found = [number for number in range(40) if isinstance(Claims(folder).take(f"unit-{number}"), Held)]
print(*found, flush=True)
sys.stdin.read()  # until the others have ended: the claims of the dead are free
"""


def test_of_many_processes_one_gets_each_claim(tmp_path):
    command = [sys.executable, "-c", RACE, str(tmp_path), str(time.time() + 4)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    racers = [subprocess.Popen(command, **pipes) for _ in range(4)]
    taken = [racer.stdout.readline().split() for racer in racers]
    for racer in racers:
        racer.communicate()
    assert sorted(int(number) for each in taken for number in each) == list(range(40))


def test_a_held_claim_is_nobody_elses_until_it_is_released(tmp_path):
    with Claims(tmp_path).take("unit") as held:
        assert isinstance(held, Held)
        held.tell(3, 10, "crafting")
        other = Claims(tmp_path).take("unit")
        assert isinstance(other, Claim)
        assert (other.process, other.started) == (os.getpid(), claims.started(os.getpid()))
        assert not Claims(tmp_path).free(other)
    again = Claims(tmp_path).take("unit")
    assert isinstance(again, Held)
    with again:
        assert Claims(tmp_path).all()["unit"].generation == 1
        again.settled = True
    assert not list(tmp_path.iterdir())


def test_the_claim_of_a_dead_process_is_free_at_once(tmp_path):
    dead(tmp_path)
    held = Claims(tmp_path).take("unit")
    assert isinstance(held, Held)
    with held:
        pass


def test_a_process_of_the_same_number_is_not_the_holder(tmp_path):
    dead(tmp_path, process=os.getpid(), started="12")
    assert claims.gone(Claims(tmp_path).all()["unit"])


def test_of_many_takers_one_wins(tmp_path):
    """All see the same dead claim before the first takes it over."""
    for number in range(10):
        dead(tmp_path, f"unit-{number}")
        ready, won = threading.Barrier(8), []
        saw = Claims(tmp_path)._newest(f"unit-{number}")

        class Late(Claims):
            def _newest(self, unit, saw=saw, ready=ready):
                if not hasattr(self, "looked"):
                    self.looked = True
                    ready.wait()
                    return saw
                return super()._newest(unit)

        def take(number=number, won=won, late=Late):
            found = late(tmp_path).take(f"unit-{number}")
            if isinstance(found, Held):
                won.append(found)

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        with won[0]:
            pass


def test_who_sees_an_old_list_of_the_folder_takes_nothing(tmp_path, monkeypatch):
    """As a host does whose file system remembers what a folder held some seconds ago."""
    dead(tmp_path)
    before = list(claims._names(tmp_path))
    with Claims(tmp_path).take("unit") as held:
        assert isinstance(held, Held)
        with monkeypatch.context() as patch:
            patch.setattr(claims, "_names", lambda folder: iter(before))
            assert isinstance(Claims(tmp_path).take("unit"), Claim)
    assert Claims(tmp_path).all()["unit"].generation == 1


def elsewhere(folder, **changes):
    return dead(folder, system="another host", **changes)


@pytest.fixture
def clock(monkeypatch):
    """A monotonic clock that stands still until it is set."""
    now = [1000.0]
    monkeypatch.setattr("poisoncli.sweeps.claims.time.monotonic", lambda: now[0])
    return now


def test_the_claim_of_a_host_that_is_gone_is_free_after_ten_minutes(tmp_path, clock):
    claim = aged(tmp_path, elsewhere(tmp_path), claims.STALE + 5)
    watching = Claims(tmp_path)
    assert not watching.free(claim)
    clock[0] += claims.WATCH
    assert watching.free(claim)
    claim = aged(tmp_path, claim, claims.STALE - 60)
    watching = Claims(tmp_path)
    assert not watching.free(claim)
    clock[0] += claims.WATCH
    assert not watching.free(claim)


def test_a_clock_that_jumps_does_not_take_a_claim_from_the_living(tmp_path, clock):
    watching, claim = Claims(tmp_path), elsewhere(tmp_path)
    for _ in range(30):  # signs of life of a host whose clock is two hours behind
        claim = aged(tmp_path, claim, 7200 + clock[0])
        assert not watching.free(claim)
        clock[0] += claims.HEARTBEAT
    claim = aged(tmp_path, claim, -7200)  # and of the dead, with a clock that was two hours ahead
    assert not watching.free(claim)
    clock[0] += claims.STALE
    assert watching.free(claim)


def test_who_has_watched_a_silent_claim_frees_it_for_all(tmp_path, clock):
    claim = aged(tmp_path, elsewhere(tmp_path), claims.STALE + 5)
    watching = Claims(tmp_path)
    assert not watching.end(claim)
    clock[0] += claims.WATCH
    assert watching.end(claim)
    held = Claims(tmp_path).take("unit")
    assert isinstance(held, Held)
    with held:
        assert Claims(tmp_path).all()["unit"].generation == 2


def test_a_thread_gives_signs_of_life_and_notices_that_the_claim_was_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "HEARTBEAT", 0.05)
    with Claims(tmp_path).take("unit") as held:
        held.tell(4, 10, "crafting rmd poison")
        until = time.monotonic() + 20
        while Claims(tmp_path).all()["unit"].done != 4 and time.monotonic() < until:
            time.sleep(0.02)
        seen = Claims(tmp_path).all()["unit"]
        assert (seen.done, seen.total, seen.what) == (4, 10, "crafting rmd poison")
        assert not held.overtaken
        claims._path(tmp_path, "unit", 1).touch()
        while not held.overtaken and time.monotonic() < until:
            time.sleep(0.02)
        assert held.overtaken


def test_a_claim_that_is_half_written_is_somebodys(tmp_path):
    claims._path(tmp_path, "unit", 0).touch()
    found = Claims(tmp_path).take("unit")
    assert isinstance(found, Claim)
    assert found.holder == "a process that has just begun"
    claims._path(tmp_path, "unit", 0).write_text(json.dumps(["a"]))
    assert isinstance(Claims(tmp_path).take("unit"), Claim)


def test_a_folder_without_room_is_told_and_no_claim_is_left(tmp_path, monkeypatch):
    def full(handle, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("poisoncli.sweeps.claims.os.write", full)
    with pytest.raises(UnwritableError, match="free some space"):
        Claims(tmp_path).take("unit")
    assert not list(tmp_path.iterdir())


def test_a_folder_without_permission_is_told(tmp_path, monkeypatch):
    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("poisoncli.sweeps.claims.os.open", denied)
    with pytest.raises(UnwritableError, match="make the folder writable"):
        Claims(tmp_path).take("unit")


def test_a_long_text_fits_into_a_claim(tmp_path):
    with Claims(tmp_path).take("unit") as held:
        held.tell(1, 2, "x" * 5000)
    assert Claims(tmp_path).all()["unit"].released


def test_jobs_of_clusters_are_named(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert claims.job() == "Slurm 12, task 3"


def test_signs_of_life_go_on_in_a_long_compiled_call(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "HEARTBEAT", 0.02)
    beats, original = [], Held._write

    def write(held):
        beats.append(time.monotonic())
        original(held)

    monkeypatch.setattr(Held, "_write", write)
    step = jax.jit(lambda x: jax.lax.fori_loop(0, 500_000, lambda _, y: jnp.sin(y) + x, x))
    step(jnp.ones(300)).block_until_ready()
    with Claims(tmp_path).take("unit"):
        begun = time.monotonic()
        step(jnp.ones(300)).block_until_ready()
        ended = time.monotonic()
    assert ended - begun > 0.1
    assert len([beat for beat in beats if begun + 0.02 < beat < ended - 0.02]) > 1
