"""The run file: what is written is read again to the bit, and nothing is ever half-written."""

import dataclasses
import errno
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from small_run import described, example, refused

from poisoncli.core.attack import Poison
from poisoncli.core.errors import FailedError, PoisonError
from poisoncli.runs import run_file
from poisoncli.runs.run_file import SCALER, Defended, Evaluation, RunFile

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def numbers(shape, dtype=np.float32, finite=False):
    plain = {"allow_nan": False, "allow_infinity": False} if finite else {}
    kinds = {"f": lambda: st.floats(width=32, **plain), "i": lambda: st.integers(0, 2**40)}
    return arrays(dtype, shape, elements=kinds[np.dtype(dtype).kind]())


@st.composite
def run_files(draw):
    """Run files of any size, NaN and infinity included where they may be."""
    repetitions, stages, points, m, lambdas, outer, rows = (draw(st.integers(1, 3)) for _ in range(7))
    each, whole = (repetitions, stages), np.int64
    poison = Poison(
        x=draw(numbers((repetitions, points, m), finite=True)),
        y=draw(numbers((repetitions, points), finite=True)),
        replaced=draw(arrays(np.int64, (repetitions, points), elements=st.integers(0, rows - 1))),
        counts=np.sort(draw(arrays(np.int64, stages, elements=st.integers(0, points)))) * (np.arange(stages) > 0),
        log_lambda=draw(numbers((*each, lambdas), finite=True)),
        loss=draw(numbers((*each, draw(st.integers(0, 1)) * outer))),
        done=draw(st.integers(0, 99)),
        total=99,
    )
    params = [
        {"w": draw(numbers((*each, 2, m), finite=True)), "b": draw(numbers((*each, 2), finite=True))}
        for _ in range(lambdas)
    ]
    weight = draw(arrays(np.float32, (*each, rows), elements=st.floats(0, 1, width=32)))
    choice = json.dumps({"name": "trim", "note": draw(text)})
    defended = Defended(choice, draw(text), weight, draw(numbers((*each, rows))))
    measured = {
        name: draw(numbers(each, finite=name.startswith("test")))
        for name in ("test_error", "val_error", "test_loss", "val_loss")
    }
    evaluation = Evaluation(**measured, norm=draw(numbers((*each, lambdas), finite=True)), params=params)
    shift = numbers((), finite=True)
    scale = shift.map(lambda value: np.where(value, np.abs(value), np.float32(1)))

    def spread(value, shapes):
        return np.broadcast_to(draw(value), draw(st.sampled_from(shapes))).copy()

    scaler = {name: np.float32(name == "y_scale") for name in ("y_shift", "y_scale")}  # of classes
    if draw(st.booleans()):
        scaler = {"y_shift": spread(shift, [(repetitions,)]), "y_scale": spread(scale, [(repetitions,)])}
    for name, value in zip(SCALER, (shift, scale), strict=False):
        scaler[name] = spread(value, [(), (m,), (repetitions, m)])
    return RunFile(
        run=described(repetitions, rows, draw(text)),
        sha256=draw(st.text("0123456789abcdef", max_size=64)),
        split={name: draw(numbers((repetitions, rows), whole)) for name in ("train", "val", "test")},
        scaler=scaler,
        poison=poison,
        defenses={"trim": defended} if draw(st.booleans()) else {},
        evaluations={"none": evaluation} if draw(st.booleans()) else {},
    )


def same(one, other):
    """Whether two values are equal to the bit, NaN included."""
    if dataclasses.is_dataclass(one):
        one, other = vars(one), vars(other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray | np.generic):
        one, other = np.asarray(one), np.asarray(other)
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    return type(one) is type(other) and one == other


@pytest.fixture
def path(tmp_path):
    """A run file in a folder of its own."""
    run_file.write(tmp_path / "run.h5", example())
    return tmp_path / "run.h5"


@given(content=run_files())
def test_what_is_written_is_read_again(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "round.h5"
    run_file.write(path, content)
    assert same(run_file.read(path), content)


def test_large_arrays_are_read_again(tmp_path):
    content = example(size=5000)
    content.poison.x[:] = np.random.default_rng(0).normal(size=content.poison.x.shape)
    run_file.write(tmp_path / "run.h5", content)
    assert same(run_file.read(tmp_path / "run.h5"), content)


def test_arrays_name_their_axes_and_units(path):
    with h5py.File(path) as file:
        assert [axis.label for axis in file["attack/x"].dims] == ["repetition", "point", "feature"]
        assert file["attack/loss"].attrs["unit"] == "nats"
        assert set(file.attrs) == {"schema", "version", "run"}


def test_permissions_are_those_of_any_new_file(path):
    other = path.with_name("other")
    other.touch()
    assert path.stat().st_mode == other.stat().st_mode


def test_truncated_file_is_refused(path):
    content = path.read_bytes()
    for length in [*range(0, len(content), len(content) // 40), len(content) - 1]:
        path.write_bytes(content[:length])
        refused(path, "run.h5 is damaged")


def test_damaged_file_is_refused_or_read(path):
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(content)
        start = rng.integers(len(damaged))
        damaged[start : start + 16] = rng.bytes(16)
        path.write_bytes(bytes(damaged[: len(content)]))
        try:
            assert isinstance(run_file.read(path), RunFile)
        except PoisonError as error:
            assert "run.h5" in str(error)  # noqa: PT017


def test_a_file_that_declares_more_than_memory_holds_is_refused(path):
    with h5py.File(path, "r+") as file:
        del file["attack/x"]
        file.create_dataset("attack/x", shape=(1, 2, 2**44), dtype="f4", chunks=True)
    assert path.stat().st_size < 2**20
    refused(path, "GiB of memory, and the limit is")


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04 zip", b"text"])
def test_other_files_are_refused(path, content):
    path.write_bytes(content)
    refused(path, "damaged or was not written by poison")


def test_absent_file_and_folder_are_refused(tmp_path):
    refused(tmp_path / "absent.h5", "does not exist")
    refused(tmp_path, "is a folder, not a run file: name the run files in it")
    os.mkfifo(tmp_path / "pipe.h5")
    refused(tmp_path / "pipe.h5", "is a device or a pipe")
    refused(Path("/dev/null"), "is a device or a pipe")


def test_a_checkpoint_is_told_from_a_run_file(path):
    partial = path.with_name("other.h5.partial")
    run_file.write(partial, example())
    refused(partial, "checkpoint of an attack that was interrupted .8 of 8 steps.: .* --resume")
    refused(path.with_name("other.h5"), "is not finished, .* left .*other.h5.partial: .* --resume")
    assert same(run_file.read(partial, unfinished=True), example())


def edit(path, change):
    with h5py.File(path, "a") as file:
        change(file)


def foreign(file):
    del file.attrs["schema"]


def newer(file):
    file.attrs["schema"] = run_file.SCHEMA + 1


def external_link(file):
    del file["attack/x"]
    file["attack/x"] = h5py.ExternalLink("other.h5", "/secret")


def soft_link(file):
    del file["attack/x"]
    file["attack/x"] = h5py.SoftLink("/attack/y")


def deep_link(file):
    file.create_group("evaluate/none/params")["0"] = h5py.ExternalLink("other.h5", "/")


def virtual(file):
    del file["attack/x"]
    layout = h5py.VirtualLayout((1, 2, 3), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "secret", (1, 2, 3), "f4")
    file.create_virtual_dataset("attack/x", layout)


def external(file):
    del file["attack/x"]
    file.create_dataset("attack/x", (1, 2, 3), "f4", external=[("other.raw", 0, 24)])


def huge(file):
    del file["attack/x"]
    file.create_dataset("attack/x", (2**40, 2**10), "f4", chunks=(2**10, 2**10))


def cycle(file):
    file["attack/again"] = file["attack"]


def no_array(file):
    del file["attack/x"]
    file.create_group("attack/x")


def wrong_type(file):
    file.attrs["schema"] = "one"


def lacking(file):
    del file["split/train"]


def additional(file):
    file["attack/more"] = 3


def of_text(file):
    del file["attack/loss"]
    file["attack/loss"] = "high"


def never_ending(file):
    file.attrs["run"] = "[" * 20_000


def deep(file):
    file.create_group("defend/" + "/".join(["g"] * 2000))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (foreign, "not written by poison"),
        (newer, "newer poison .schema 3.: update"),
        (external_link, "attack/x: poison does not follow links"),
        (soft_link, "attack/x: poison does not follow links"),
        (deep_link, "evaluate/none/params/0: poison does not follow links"),
        (virtual, "attack/x in another file"),
        (external, "attack/x in another file"),
        (huge, "GiB of memory, and the limit is"),
        (cycle, "damaged"),
        (no_array, "damaged"),
        (wrong_type, "damaged"),
        (lacking, "damaged"),
        (additional, "damaged"),
        (of_text, "damaged"),
        (never_ending, "damaged"),
        (deep, "damaged"),
    ],
)
def test_foreign_content_is_refused(path, change, match):
    edit(path, change)
    refused(path, match)


def full(_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_leaves_the_old_file_and_nothing_else(path, monkeypatch, call):
    before = path.read_bytes()
    monkeypatch.setattr(os, call, lambda *_: full(_))
    for target in (path, path.with_name("new.h5")):
        with pytest.raises(FailedError, match="No space left on device") as error:
            run_file.write(target, example(0.25))
        assert "\n" not in str(error.value)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["run.h5"]


def test_interruption_leaves_nothing_behind(path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_file.write(path, example(0.25))
    assert os.listdir(path.parent) == ["run.h5"]
    assert same(run_file.read(path), example())


def test_absent_folder_is_a_failure(tmp_path):
    with pytest.raises(FailedError, match="cannot write"):
        run_file.write(tmp_path / "absent" / "run.h5", example())


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_the_mode_of_a_file_is_kept(path, mode):
    path.chmod(mode)
    run_file.write(path, example(0.25))
    assert path.stat().st_mode & 0o7777 == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser gives files away")
def test_the_owner_of_a_file_is_kept(path):
    os.chown(path, 1234, 2345)
    run_file.write(path, example(0.25))
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


def test_rights_of_a_group_that_cannot_be_kept_are_taken_away(path, monkeypatch):
    path.chmod(0o664)
    real, foreign = Path.stat, list(path.stat())
    foreign[5] += 1  # its group
    monkeypatch.setattr(
        Path, "stat", lambda self, **how: os.stat_result(foreign) if self == path else real(self, **how)
    )
    monkeypatch.setattr(os, "chown", lambda *_: (_ for _ in ()).throw(PermissionError()))
    run_file.write(path, example(0.25))
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
    run_file.write(link, example(0.25))
    assert link.is_symlink()
    assert same(run_file.read(target), example(0.25))
    assert not there or target.stat().st_mode & 0o7777 == 0o600
    assert os.listdir(target.parent) == ["target.h5"]


def test_links_in_a_circle_are_a_failure(tmp_path):
    (tmp_path / "a.h5").symlink_to("b.h5")
    (tmp_path / "b.h5").symlink_to("a.h5")
    with pytest.raises(FailedError, match="cannot write"):
        run_file.write(tmp_path / "a.h5", example())
    assert (tmp_path / "a.h5").is_symlink()


def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/null")):
        with pytest.raises(PoisonError, match="is a device or a pipe"):
            run_file.write(path, example())
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_read_only_file_is_refused(path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda place, how: Path(place) != path or how != os.W_OK)
    with pytest.raises(PoisonError, match=r"is read-only: .*chmod"):
        run_file.write(path, example(0.25))
    assert same(run_file.read(path), example())


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_unwritable_folder_is_a_failure(path):
    path.parent.chmod(0o500)
    with pytest.raises(FailedError, match="cannot write"):
        run_file.write(path, example(0.25))
    path.parent.chmod(0o700)
    assert same(run_file.read(path), example())


KILLED = """
import os, signal, sys
from pathlib import Path
from poisoncli.runs import run_file
content = run_file.read(sys.argv[1])
import dataclasses
content = dataclasses.replace(content, run="new")
def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(os, sys.argv[2], kill)
run_file.write(Path(sys.argv[1]), content)
"""


@pytest.mark.parametrize("call", ["fsync", "chmod", "replace"])
def test_kill_in_mid_write_leaves_the_old_file(path, call):
    done = subprocess.run([sys.executable, "-c", KILLED, path, call], check=False)
    assert done.returncode == -signal.SIGKILL
    assert same(run_file.read(path), example())
    assert len(os.listdir(path.parent)) == 2  # what the kill left behind
    run_file.write(path, example(0.25))
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
        run_file.write(path, example(0.25))
        assert held.exists()
    run_file.write(path, example(0.25))
    assert not held.exists()
    assert all(other.read_bytes() == b"mine" for other in others)
