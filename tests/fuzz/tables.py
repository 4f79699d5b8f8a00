"""Tables of every format, awkward or damaged, and the commands that read them."""

from __future__ import annotations

import functools
import io
import random
from collections.abc import Callable

import numpy as np
from fuzz import templates
from fuzz.case import Case
from fuzz.mutate import NUMBERS, WORDS, array, damaged, tree
from fuzz.templates import SIZES

_CELLS = (
    "",
    "nan",
    "NA",
    "inf",
    "1e400",
    "-0",
    "0x1",
    "1,5",
    '"',
    "'",
    '"a,b"',
    "\t",
    " 1",
    "True",
    "2020-01-01",
    "1e308",
    "\0",
    "ä",
    "[/red]",
)


@functools.cache
def _valid(form: str) -> bytes:
    x, y = templates.table()
    made: dict[str, Callable[[], bytes]] = {
        "csv": templates.csv,
        "npz": lambda: templates.npz(x=x, y=y),
        "h5": lambda: templates.hdf5(x=x, y=y),
        "parquet": templates.parquet,
        "svm": templates.svmlight,
        "mat": lambda: templates.mat(x=x, y=y.astype(float)),
        "enron": templates.enron,
        "poison": lambda: templates.npz(x=np.random.default_rng(0).random((5, 64)), y=np.arange(5) % 2),
    }
    return made[form]()


def csv(rng: random.Random) -> Case:
    lines = [line.split(",") for line in _valid("csv").decode().splitlines()][: rng.choice((2, 3, 10, 40, 61))]
    for _ in range(rng.choice((0, 1, 1, 3, 30))):
        row = rng.randrange(len(lines))
        lines[row][rng.randrange(len(lines[row]))] = rng.choice((*_CELLS, *map(str, NUMBERS), *WORDS))
    if rng.random() < 0.2:
        rng.choice(lines).append("9")
    if rng.random() < 0.1:
        lines = [[row[0]] for row in lines]
    separator, end = rng.choice(",,,,,,,;\t| "), rng.choice(("\n", "\n", "\r\n", "\r"))
    content = end.join(separator.join(row) for row in lines)
    form = rng.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"))
    return _own(rng, "csv", _perhaps(rng, content.encode(form, "replace")))


def npz(rng: random.Random) -> Case:
    x, y = templates.table()
    if rng.random() < 0.5:
        return _own(rng, "npz", damaged(rng, _valid("npz")))
    arrays = {
        "x": rng.choice((x, x, array(rng))),
        "y": rng.choice((y, y, array(rng))),
        rng.choice(("z", "X", "../a")): x,
    }
    return _own(rng, "npz", _perhaps(rng, templates.npz(**arrays)))


def hdf5(rng: random.Random) -> Case:
    change = rng.choice((damaged, tree))
    return _own(rng, "h5", change(rng, _valid("h5")))


def parquet(rng: random.Random) -> Case:
    if rng.random() < 0.5:
        return _own(rng, "parquet", damaged(rng, _valid("parquet")))
    import pyarrow
    import pyarrow.parquet

    x, y = templates.table()
    strange = rng.choice(
        (
            [[1, 2]] * 60,
            [{"a": 1}] * 60,
            ["a"] * 60,
            [None] * 60,
            [b"\xff"] * 60,
            [True] * 60,
            [2**62] * 60,
            pyarrow.array(np.arange(60), "timestamp[ns]"),
            pyarrow.array(["a", "b"] * 30).dictionary_encode(),
            pyarrow.array([1.5] * 60, pyarrow.float16()),
            pyarrow.array([None, 1] * 30, pyarrow.int32()),
            pyarrow.array(range(60), pyarrow.decimal128(38, 2)),
            pyarrow.array(range(60), "duration[s]"),
        )
    )
    name = rng.choice(("b", "y", "label", "[/red]", ""))
    image = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"a": x[:, 0], "y": y, name: strange}), image)
    return _own(rng, "parquet", image.getvalue())


def svmlight(rng: random.Random) -> Case:
    content = _valid("svm")
    if rng.random() < 0.6:
        old = rng.choice(content.split())
        new = rng.choice(
            (
                "2147483648:1",
                "16777216:1",
                "99999999999999999999:1",
                "-1:1",
                "1:",
                ":",
                "qid:1",
                "1:nan",
                "1:1e999",
                "#",
                "1:1 1:1",
                "\0",
                "x",
            )
        )
        content = content.replace(old, new.encode(), rng.choice((1, 1, 60)))
    return _own(rng, "svm", _perhaps(rng, content))


def idx(rng: random.Random) -> Case:
    import gzip

    files = dict(templates.mnist())
    name = rng.choice(sorted(files))
    if rng.random() < 0.5:
        files[name] = gzip.compress(damaged(rng, gzip.decompress(files[name])[:4000]), mtime=0)
    else:
        files[name] = damaged(rng, files[name])
    return Case("IDX", ("attack", "--dataset", "mnist", "--data-dir", ".", "--method", "flip", *SIZES), files)


def matlab(rng: random.Random) -> Case:
    if rng.random() < 0.5:
        content = damaged(rng, _valid("enron"))
        args = ("attack", "--dataset", "enron", "--data-dir", ".", "--method", "alfa", "--fraction", "0.1")
        return Case(".mat", args, {"enron/enron_data.mat": content})
    return _poison(rng, "mat", damaged(rng, _valid("mat")))


def poison(rng: random.Random) -> Case:
    if rng.random() < 0.5:
        return _poison(rng, "npz", damaged(rng, _valid("poison")))
    arrays = {"x": array(rng), "y": array(rng), "poison": array(rng)}
    arrays["data"], arrays["indices"], arrays["indptr"], arrays["shape"] = (array(rng) for _ in range(4))
    for name in rng.sample(sorted(arrays), rng.randrange(len(arrays))):
        del arrays[name]
    return _poison(rng, "npz", templates.npz(**arrays))


def renamed(rng: random.Random) -> Case:
    """A file whose name tells another format."""
    forms = ("csv", "npz", "h5", "parquet", "svm", "mat")
    content, form = _valid(rng.choice(forms)), rng.choice(forms)
    return _poison(rng, form, content) if form == "mat" else _own(rng, form, content)


def _perhaps(rng: random.Random, content: bytes) -> bytes:
    return damaged(rng, content) if rng.random() < 0.25 else content


def _own(rng: random.Random, form: str, content: bytes) -> Case:
    """One of the commands that read a user's own table."""
    name = f"own.{form}"
    target = rng.choice(((), (), (), ("--target", "y"), ("--target", rng.choice(WORDS)), ("--classes", "0,1")))
    command = rng.choice(
        (
            (
                "defend",
                "--dataset",
                name,
                "-d",
                rng.choice(("l2", "slab", "loss", "knn", "svd", "trim", "all")),
                *target,
            ),
            ("defend", "--dataset", name, "-d", "l2", "--csv", *target),
            ("attack", "--dataset", name, "--method", "flip", *target, *SIZES),
            ("attack", "--dataset", name, "--method", "flip", *target),
            ("evaluate", "--dataset", name, *target),
            ("evaluate", "--dataset", "own.csv", "--poison", name),
        )
    )
    files = {"own.csv": _valid("csv"), name: content}
    return Case(
        {"svm": "svmlight", "h5": "HDF5"}.get(form, form.upper() if form != "parquet" else "Parquet"),
        command,
        files,
    )


def _poison(rng: random.Random, form: str, content: bytes) -> Case:
    verb = rng.choice((("evaluate",), ("defend", "-d", "l2")))
    data = rng.choice(("digits", "own.csv"))
    files = {f"poison.{form}": content, "own.csv": _valid("csv")}
    kind = ".mat" if form == "mat" else "poison of other tools"
    return Case(kind, (*verb, "--dataset", data, "--poison", f"poison.{form}"), files)


KINDS = (csv, npz, hdf5, parquet, svmlight, idx, matlab, poison, renamed)
