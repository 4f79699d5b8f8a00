"""Files are written whole: a full disk, an interruption or a kill leaves the old one, and nothing beside it."""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from poisoncli.core.errors import FailedError, PoisonError
from poisoncli.tables.atomic import replace

OLD, NEW = b"old content", b"new"


@pytest.fixture
def path(tmp_path):
    """A file in a folder of its own."""
    replace(tmp_path / "run.h5", OLD)
    return tmp_path / "run.h5"


def test_permissions_are_those_of_any_new_file(path):
    other = path.with_name("other")
    other.touch()
    assert path.stat().st_mode == other.stat().st_mode


def full(_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_leaves_the_old_file_and_nothing_else(path, monkeypatch, call):
    before = path.read_bytes()
    monkeypatch.setattr(os, call, lambda *_: full(_))
    for target in (path, path.with_name("new.h5")):
        with pytest.raises(FailedError, match="No space left on device") as error:
            replace(target, NEW)
        assert "\n" not in str(error.value)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["run.h5"]


def test_interruption_leaves_nothing_behind(path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        replace(path, NEW)
    assert os.listdir(path.parent) == ["run.h5"]
    assert path.read_bytes() == OLD


def test_absent_folder_is_a_failure(tmp_path):
    with pytest.raises(FailedError, match="cannot write"):
        replace(tmp_path / "absent" / "run.h5", OLD)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_the_mode_of_a_file_is_kept(path, mode):
    path.chmod(mode)
    replace(path, NEW)
    assert path.stat().st_mode & 0o7777 == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser gives files away")
def test_the_owner_of_a_file_is_kept(path):
    os.chown(path, 1234, 2345)
    replace(path, NEW)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


def test_rights_of_a_group_that_cannot_be_kept_are_taken_away(path, monkeypatch):
    path.chmod(0o664)
    real, foreign = Path.stat, list(path.stat())
    foreign[5] += 1  # its group
    monkeypatch.setattr(
        Path, "stat", lambda self, **how: os.stat_result(foreign) if self == path else real(self, **how)
    )
    monkeypatch.setattr(os, "chown", lambda *_: (_ for _ in ()).throw(PermissionError()))
    replace(path, NEW)
    monkeypatch.undo()
    assert path.stat().st_mode & 0o7777 == 0o604


@pytest.mark.parametrize("there", [True, False], ids=["target", "no target yet"])
def test_a_link_is_written_through(path, there):
    (path.parent / "far").mkdir()
    target, link = path.parent / "far" / "target.h5", path.parent / "link.h5"
    link.symlink_to("far/target.h5")
    if there:
        target.write_bytes(path.read_bytes())
        target.chmod(0o600)
    replace(link, NEW)
    assert link.is_symlink()
    assert target.read_bytes() == NEW
    assert not there or target.stat().st_mode & 0o7777 == 0o600
    assert os.listdir(target.parent) == ["target.h5"]


def test_links_in_a_circle_are_a_failure(tmp_path):
    (tmp_path / "a.h5").symlink_to("b.h5")
    (tmp_path / "b.h5").symlink_to("a.h5")
    with pytest.raises(FailedError, match="cannot write"):
        replace(tmp_path / "a.h5", OLD)
    assert (tmp_path / "a.h5").is_symlink()


def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/null")):
        with pytest.raises(PoisonError, match="is a device or a pipe"):
            replace(path, OLD)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_read_only_file_is_refused(path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda place, how: Path(place) != path or how != os.W_OK)
    with pytest.raises(PoisonError, match=r"is read-only: .*chmod"):
        replace(path, NEW)
    assert path.read_bytes() == OLD


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_unwritable_folder_is_a_failure(path):
    path.parent.chmod(0o500)
    with pytest.raises(FailedError, match="cannot write"):
        replace(path, NEW)
    path.parent.chmod(0o700)
    assert path.read_bytes() == OLD


KILLED = """
import os, signal, sys
from pathlib import Path
from poisoncli.tables.atomic import replace
def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(os, sys.argv[2], kill)
replace(Path(sys.argv[1]), b"new")
"""


@pytest.mark.parametrize("call", ["fsync", "chmod", "replace"])
def test_kill_in_mid_write_leaves_the_old_file(path, call):
    done = subprocess.run([sys.executable, "-c", KILLED, path, call], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == OLD
    assert len(os.listdir(path.parent)) == 2  # what the kill left behind
    replace(path, NEW)
    assert os.listdir(path.parent) == ["run.h5"]


def test_only_abandoned_files_of_the_same_run_are_removed(path):
    folder = path.parent
    others = [
        folder / name for name in (".other.h5.abcdefgh.writing", ".run.h5.mybackup", ".run.h5.longer_.writing2")
    ]
    for other in others:
        other.write_bytes(b"mine")
    held = folder / ".run.h5.abcdefgh.writing"  # as a second process in mid-write has it
    held.write_bytes(b"half")
    with held.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        replace(path, NEW)
        assert held.exists()
    replace(path, NEW)
    assert not held.exists()
    assert all(other.read_bytes() == b"mine" for other in others)


def test_a_file_that_another_host_takes_for_abandoned_is_written_once_more(path, monkeypatch):
    """Where locks bind the processes of one host alone, as on some network file systems."""
    original, removed = os.replace, []

    def replaced(source, target):
        if len(removed) < 3:
            removed.append(source)
            os.unlink(source)
        original(source, target)

    monkeypatch.setattr(os, "replace", replaced)
    replace(path, NEW)
    assert (path.read_bytes(), len(removed)) == (NEW, 3)
    assert os.listdir(path.parent) == ["run.h5"]
