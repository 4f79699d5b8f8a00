"""Small valid files, made by the command line itself, from which damaged ones are made."""

from __future__ import annotations

import functools
import gzip
import io
import struct
import tempfile
from pathlib import Path

import numpy as np
from fuzz.case import Case
from fuzz.pool import Zygote

SIZES = ("--n-train", "20", "--n-val", "10", "--n-test", "10", "--fraction", "0.2")
SHORT = ("-o", "outer_steps=2", "-o", "inner_steps=3")
_RUNS = {  # name of a run file: what crafts it, and what is done to it afterwards
    "flip": (("--method", "flip"), ()),
    "rmd": (("--learn-lambda", *SHORT), (("defend", "-d", "l2", "-d", "knn"), ("evaluate",))),
    "line": (("--dataset", "line", *SHORT, "-o", "batch=4"), (("defend", "-d", "trim"), ("evaluate",))),
    "svm": (
        ("--dataset", "breast-cancer", "--method", "alfa", "--lambda", "0.1"),
        (("defend", "-d", "slab"), ("evaluate",)),
    ),
    "own": (("--dataset", "own.csv", "--method", "flip"), (("evaluate",),)),
    "mixed": (
        ("--dataset", "mixed.csv", "--method", "flip", "--reps", "2", "--columns-changed", "2", "--only-up", "age"),
        (
            ("defend", "-d", "l2"),
            ("evaluate", "--victim", "sklearn.tree:DecisionTreeClassifier", "--metric", "auc"),
        ),
    ),
    "ten": (
        (*("--dataset", "digits", "--classes", "all", "--n-train", "40", "--n-val", "20"), "--method", "flip"),
        (("evaluate", "--metric", "recall"),),
    ),
}


def table(rows: int = 60, classes: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features [rows, 3] with two decimals, and labels that they nearly tell."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % classes
    return np.round(rng.standard_normal((rows, 3)) + 2.0 * y[:, None], 2), y


def csv(rows: int = 60, classes: int = 2) -> bytes:
    x, y = table(rows, classes)
    lines = ["a,b,c,y", *(",".join([*map(str, row), str(label)]) for row, label in zip(x, y, strict=True))]
    return ("\n".join(lines) + "\n").encode()


def mixed(rows: int = 60) -> bytes:
    """A table with columns of many kinds and cells missing."""
    x, y = table(rows)
    lines = ["income,age,city,smoker,born,y"]
    for row, (a, b, _) in enumerate(x):
        city, day = ("Rome", "Oslo", "[/red]", "")[row % 4], f"2020-01-{1 + row % 28:02d}"
        lines.append(
            f"{a if row % 7 else ''},{18 + int(9 * b) % 60},{city},{'yes' if b > 1 else 'no'},{day},c{y[row]}"
        )
    return ("\n".join(lines) + "\n").encode()


def npz(**arrays: np.ndarray) -> bytes:
    image = io.BytesIO()
    np.savez(image, **arrays)
    return image.getvalue()


def hdf5(**arrays: np.ndarray) -> bytes:
    import h5py

    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return image.getvalue()


def mat(**arrays: object) -> bytes:
    import scipy.io

    image = io.BytesIO()
    scipy.io.savemat(image, arrays, do_compression=True)
    return image.getvalue()


def parquet(rows: int = 60) -> bytes:
    import pyarrow
    import pyarrow.parquet

    x, y = table(rows)
    columns = pyarrow.table({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": y})
    image = io.BytesIO()
    pyarrow.parquet.write_table(columns, image)
    return image.getvalue()


def svmlight(rows: int = 60) -> bytes:
    x, y = table(rows)
    lines = (
        f"{label} " + " ".join(f"{i}:{value}" for i, value in enumerate(row, 1))
        for row, label in zip(x, y, strict=True)
    )
    return ("\n".join(lines) + "\n").encode()


def idx(images: bool, rows: int = 60) -> bytes:
    """An IDX file of MNIST, zipped."""
    rng = np.random.default_rng(0)
    y = (np.arange(rows) % 10).astype(np.uint8)
    if not images:
        return gzip.compress(struct.pack(">II", 0x801, rows) + y.tobytes(), mtime=0)
    pixels = rng.integers(0, 256, (rows, 28, 28), np.uint8)
    return gzip.compress(struct.pack(">IIII", 0x803, rows, 28, 28) + pixels.tobytes(), 1, mtime=0)


def mnist() -> dict[str, bytes]:
    """The four files of MNIST, with few rows."""
    return {
        f"mnist/{part}-{what}-ubyte.gz": idx(what.startswith("images"), 60)
        for part in ("train", "t10k")
        for what in ("images-idx3", "labels-idx1")
    }


def enron() -> bytes:
    """The processed Enron file, with few rows."""
    import scipy.sparse as sp

    rng = np.random.default_rng(0)
    x = sp.csc_matrix(rng.poisson(0.4, (40, 12)).astype(float))
    y = np.where(np.arange(40) % 2, 1.0, -1.0)[:, None]
    return mat(X_train=x[:30], y_train=y[:30], X_test=x[30:], y_test=y[30:])


class Templates:
    """Run files by name, made when they are first asked for."""

    def __init__(self, zygote: Zygote) -> None:
        self._zygote = zygote

    @functools.cache  # noqa: B019
    def run(self, name: str) -> dict[str, bytes]:
        """The run file NAME.h5 and the files that it needs beside it."""
        craft, then = _RUNS[name]
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            beside = {"own": {"own.csv": csv()}, "mixed": {"mixed.csv": mixed()}}.get(name, {})
            Case("", (), beside).lay_out(folder)
            out = f"{name}.h5"
            for command in (
                ("attack", *SIZES, *craft, "--out", out),
                *((verb[0], out, *verb[1:]) for verb in then),
            ):
                outcome = self._zygote.run(Case("template", command), folder)
                assert outcome.status == 0, (command, outcome.stderr)
            return {**beside, out: (folder / out).read_bytes()}

    @functools.cache  # noqa: B019
    def sweep(self) -> dict[str, bytes]:
        """The folder `fig` of a sweep that is done, and the TOML that it was begun with."""
        toml = b'draw = ["test_error"]\ndefend = ["l2"]\n[base]\nattack = "flip"\nfraction = 0.2\nn_train = 20\n'
        toml += b"n_val = 10\nn_test = 10\n[line.a]\nseed = 1\n[line.b]\nseed = 2\n"
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            Case("", (), {"s.toml": toml}).lay_out(folder)
            outcome = self._zygote.run(Case("template", ("sweep", "--config", "s.toml", "--out", "fig")), folder)
            assert outcome.status == 0, outcome.stderr
            found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
            return {str(path.relative_to(folder)): path.read_bytes() for path in found}

    def names(self, few: bool) -> tuple[str, ...]:
        """Which there are, or those that take the least time."""
        return ("flip",) if few else tuple(_RUNS)
