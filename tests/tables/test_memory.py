"""A file fills half of what is free at most, or what the user says."""

import subprocess
import sys

import pytest

from poisoncli.core.errors import PoisonError
from poisoncli.tables import memory


def test_half_of_what_is_free():
    assert 0 < memory.limit() <= memory.free() // 2 + 2**28  # others take and give back meanwhile


def test_the_user_says_how_much(monkeypatch):
    monkeypatch.setenv("POISON_MEMORY", "0.5")
    memory.check(2**29, "it")
    with pytest.raises(PoisonError, match=r"^it needs about 0.5 GiB of memory, and the limit is 0.5 GiB"):
        memory.check(2**29 + 1, "it")


@pytest.mark.parametrize("text", ["x", "-1", "0", "nan", "inf", "1e300"])
def test_other_words_are_refused(monkeypatch, text):
    monkeypatch.setenv("POISON_MEMORY", text)
    with pytest.raises(PoisonError, match=r"POISON_MEMORY is .*: give a number of GiB"):
        memory.limit()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere such limits are not kept")
def test_a_limit_of_the_process_counts():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_DATA, (2**30, 2**30)); "
        "from poisoncli.tables import memory; print(memory.free())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < 2**30
