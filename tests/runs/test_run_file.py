"""The run file: what is written is read again to the bit, and nothing is ever half-written."""

import dataclasses
import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from small_run import described, example, refused

from poisoncli.core.attack import Poison
from poisoncli.core.errors import PoisonError
from poisoncli.runs import run_file, soundness
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
    evaluation = Evaluation(**measured, norm=soundness.norms(params), params=params)
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
