"""What was compiled is kept between commands, and what is kept does no harm."""

import os
import subprocess
import sys
import time
import zlib

import pytest
from command import TINY

from poisoncli.runs import compilation_cache, run_file

PROGRAM = """
from poisoncli.runs import compilation_cache
compilation_cache.keep()
import jax, sys
print(jax.jit(lambda x: x * 2 + 1)(3.0))
"""


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """A process that has not imported JAX, and a folder for what it compiles."""
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "jax")
    monkeypatch.setenv("POISON_COMPILATION_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


def used():
    compilation_cache.keep()
    return os.environ.get("JAX_COMPILATION_CACHE_DIR")


def test_it_is_on_and_private(fresh):
    folder = used()
    assert folder is not None
    assert folder.startswith(str(fresh))
    assert os.stat(folder).st_mode & 0o077 == 0
    assert used() == folder  # in a process started from here


def test_by_default_it_lies_in_the_users_cache(fresh, monkeypatch, tmp_path):
    monkeypatch.delenv("POISON_COMPILATION_CACHE")
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache" / project)
    assert str(used()).startswith(str(tmp_path / "cache" / "poison" / "compiled"))


def test_another_processor_has_another_folder(fresh, monkeypatch):
    one = used()
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setattr(compilation_cache, "_processor", lambda: "another")
    assert used() not in (None, one)


@pytest.mark.parametrize(
    ("name", "value"),
    [("POISON_COMPILATION_CACHE", "off"), ("JAX_ENABLE_COMPILATION_CACHE", "false")],
)
def test_it_can_be_turned_off(fresh, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert used() is None
    assert not fresh.exists()


def test_a_folder_of_the_users_own_for_jax_stays(fresh, monkeypatch, tmp_path):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "own"))
    assert used() == str(tmp_path / "own")
    assert not fresh.exists()


def test_no_folder_no_cache(fresh):
    fresh.write_text("a file stands in its place")
    assert used() is None


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="the system does not tell who may write")
def test_a_folder_that_others_can_write_to_is_not_used(fresh, monkeypatch):
    folder = used()
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    os.chmod(str(folder), 0o777)
    assert used() is None


def test_what_was_half_written_is_removed_and_the_rest_is_looked_at_once(fresh, monkeypatch):
    folder = fresh / os.path.basename(str(used()))
    whole = zlib.compress(os.urandom(5000))
    (folder / "jit_one-1-cache").write_bytes(whole)
    (folder / "jit_two-2-cache").write_bytes(whole[:3000])
    (folder / "jit_three-3-cache").write_bytes(b"")
    used()
    assert sorted(path.name for path in folder.glob("*-cache")) == ["jit_one-1-cache"]
    os.utime(folder / "jit_one-1-cache", (0, 0))
    monkeypatch.setattr(compilation_cache, "_is_whole", lambda entry: pytest.fail("looked at again"))
    used()


def test_its_size_is_bounded(fresh, monkeypatch):
    folder = fresh / os.path.basename(str(used()))
    monkeypatch.setattr(compilation_cache, "LIMIT", 30_000)
    for age in range(5):
        path = folder / f"jit_{age}-0-cache"
        path.write_bytes(zlib.compress(os.urandom(9_900)))
        os.utime(path, (time.time() - 100 * age,) * 2)
    used()
    assert sorted(path.name for path in folder.glob("*-cache")) == [f"jit_{age}-0-cache" for age in range(3)]


def child(folder, *command):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment["POISON_COMPILATION_CACHE"] = str(folder)
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, check=True, env=environment
    )


def entries(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*/*-cache")}


def test_a_process_killed_while_it_wrote_leaves_the_next_one_at_work(tmp_path):
    child(tmp_path, "-c", PROGRAM)
    first = entries(tmp_path)
    assert first
    for path in tmp_path.glob("*/*-cache"):
        path.write_bytes(path.read_bytes()[:100])
    done = child(tmp_path, "-c", PROGRAM)
    assert (done.stdout, done.stderr) == ("7.0\n", "")
    assert entries(tmp_path).keys() == first.keys()
    assert all(compilation_cache._is_whole(path.read_bytes()) for path in tmp_path.glob("*/*-cache"))


@pytest.mark.long
def test_the_second_attack_compiles_nothing_and_ends_in_the_same_bits(tmp_path):
    one, two = tmp_path / "one.h5", tmp_path / "two.h5"
    child(tmp_path, "-m", "poisoncli", "attack", *TINY, "--out", one)
    kept = entries(tmp_path)
    assert kept
    child(tmp_path, "-m", "poisoncli", "attack", *TINY, "--out", two)
    assert entries(tmp_path) == kept
    assert (run_file.read(one).poison.x == run_file.read(two).poison.x).all()
