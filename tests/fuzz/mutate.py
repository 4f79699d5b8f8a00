"""Files damaged by chance: bytes, and the tree of an HDF5 file."""

from __future__ import annotations

import contextlib
import io
import json
import random
from typing import Any

import numpy as np

_READABLE = 10_000_000  # numbers of a data set that a change may read
NUMBERS = (
    0,
    -1,
    1,
    2,
    3,
    7,
    12,
    0.5,
    -0.5,
    1e-300,
    1e308,
    float("inf"),
    float("-inf"),
    float("nan"),
    2**31,
    2**63,
    10**20,
)
WORDS = (
    "",
    " ",
    "x",
    "[/red]",
    "[bold]",
    "a\x1bb",
    "ä∑🙂",
    "../up",
    "{}",
    "[]",
    "null",
    "0x10",
    "1_000",
    "a" * 300,
    "%s%n",
    "-1",
    "--",
    "nan",
)


def damaged(rng: random.Random, content: bytes) -> bytes:
    """`content` with one to four faults."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        content = _fault(rng, content)
    return content


def _fault(rng: random.Random, content: bytes) -> bytes:
    size = len(content)
    at, length = rng.randrange(size + 1), rng.choice((1, 2, 4, 8, 64))
    kind = rng.choice(
        ("cut", "flip", "flip", "flip", "set", "insert", "remove", "repeat", "zero", "append", "words", "empty")
    )
    if kind == "cut":
        return content[:at]
    if kind == "empty":
        return b"" if rng.random() < 0.2 else content[:1]
    if kind in ("flip", "set") and size:
        found = bytearray(content)
        for _ in range(rng.choice((1, 1, 3, 20))):
            place = rng.randrange(size)
            found[place] = (
                found[place] ^ (1 << rng.randrange(8))
                if kind == "flip"
                else rng.choice((0, 255, 127, 10, rng.randrange(256)))
            )
        return bytes(found)
    part = {
        "insert": rng.randbytes(length),
        "repeat": content[at : at + length] * rng.choice((2, 3, 50)),
        "zero": bytes(length),
        "words": str(rng.choice((*NUMBERS, *WORDS))).encode(),
    }.get(kind, b"")
    if kind == "append":
        return content + rng.randbytes(length)
    return content[:at] + part + content[at + (0 if kind == "insert" else length) :]


def array(rng: random.Random) -> Any:
    """An array that nobody expects."""
    shape = rng.choice(((), (0,), (1,), (3,), (0, 3), (3, 0), (2, 3), (1, 2, 3), (1, 8), (60,), (60, 3)))
    kind = rng.choice(("f4", "f8", "i1", "i8", "u8", "?", "c8", "S3", "f2", "O", "compound"))
    values = np.resize(np.array([rng.choice(NUMBERS[:-3]) for _ in range(5)]), shape)
    with np.errstate(all="ignore"):
        if kind == "compound":
            return np.zeros(shape, [("a", "f4"), ("b", "i4")])
        if kind == "O":
            return np.full(shape, rng.choice(WORDS).replace("\0", ""), object)
        if kind == "S3":
            return np.full(shape, b"abc")
        if kind in ("i1", "i8", "u8", "?"):
            values = np.nan_to_num(values, posinf=9, neginf=-9).clip(-9, 9)
        return values.astype(kind)


def tree(rng: random.Random, content: bytes) -> bytes:
    """An HDF5 file with one to three members or attributes changed."""
    import h5py

    image = io.BytesIO(content)
    with h5py.File(image, "r+") as file:
        for _ in range(rng.choice((1, 1, 2, 3))):
            places: list[str] = []
            file.visit(places.append)
            place = rng.choice(["", *places])
            with contextlib.suppress(ValueError, OSError, RuntimeError, TypeError, KeyError):  # h5py refuses it
                if place == "" or rng.random() < 0.3:
                    _attribute(rng, file[place] if place else file)
                else:
                    _member(rng, file, place)
    return image.getvalue()


def _attribute(rng: random.Random, item: Any) -> None:
    names = list(item.attrs) or ["run"]
    name = rng.choice(names)
    kind = rng.choice(("remove", "number", "word", "array", "json", "json", "json", "bytes"))
    old = item.attrs.get(name)
    if kind == "remove":
        if name in item.attrs:
            del item.attrs[name]
        return
    value: Any = rng.choice(NUMBERS[:-2])
    if kind == "word":
        value = rng.choice(WORDS).replace("\0", "")
    elif kind == "array":
        value = np.zeros(rng.choice((0, 1, 3)), rng.choice(("f4", "i8", "?")))
    elif kind == "bytes":
        value = np.bytes_(rng.randbytes(5).replace(b"\0", b"1") + b"\xff")
    elif kind == "json" and isinstance(old, str):
        value = changed_json(rng, old)
    item.attrs[name] = value


def changed_json(rng: random.Random, text: str) -> str:
    """A JSON object with one field replaced, removed or added; or something else."""
    try:
        fields = json.loads(text)
    except ValueError:
        return text + "}"
    if rng.random() < 0.2 or not isinstance(fields, dict):
        return rng.choice(("{}", "[]", "null", "[{}]", '"x"', "1e999", text[: len(text) // 2], "[" * 5000))
    place = fields
    while True:
        name = rng.choice([*place, "new"] if place else ["new"])
        if isinstance(place.get(name), dict) and rng.random() < 0.7:
            place = place[name]
            continue
        break
    kind = rng.random()
    if kind < 0.2:
        place.pop(name, None)
    else:
        place[name] = rng.choice(
            (rng.choice(NUMBERS), rng.choice(WORDS), None, True, [], {}, [1, "a"], {"name": "x"})
        )
    return json.dumps(fields)


def _member(rng: random.Random, file: Any, place: str) -> None:
    import h5py

    kind = rng.choice(
        (
            "remove",
            "array",
            "array",
            "array",
            "values",
            "values",
            "shape",
            "link",
            "outside",
            "cycle",
            "rename",
            "huge",
            "name",
        )
    )
    item = file[place]
    if isinstance(item, h5py.Dataset) and (item.size or 0) > _READABLE and kind in ("values", "shape"):
        kind = "remove"  # an earlier change declared numbers that no memory holds
    if kind == "values" and isinstance(item, h5py.Dataset) and item.size and item.dtype.kind in "fiu":
        value = rng.choice(NUMBERS[:-2])
        values = np.array(item[()])
        flat = values.reshape(-1)
        with np.errstate(all="ignore"):
            flat[rng.randrange(flat.size)] = np.array(
                value if np.isfinite(value) or item.dtype.kind == "f" else 9
            ).astype(item.dtype)
        item[()] = values
        return
    if kind == "shape" and isinstance(item, h5py.Dataset) and item.dtype.kind in "fiub":
        values = item[()]
        new = rng.choice(
            (
                values[None],
                values.ravel(),
                np.atleast_1d(values)[:0],
                np.atleast_1d(values)[..., :1],
                np.repeat(np.atleast_1d(values), 2, -1),
            )
        )
        del file[place]
        file[place] = new
        return
    if kind == "rename":
        file.move(place, place + rng.choice(("2", " [/red]", "\u2211")))
        return
    parent = item.parent
    del file[place]
    if kind == "array":
        value = array(rng)
        file.create_dataset(place, data=value, dtype=h5py.string_dtype() if value.dtype.kind == "O" else None)
    elif kind == "link":
        file[place] = h5py.SoftLink(rng.choice(("/", "/nowhere", place)))
    elif kind == "outside":
        file[place] = h5py.ExternalLink(rng.choice(("/etc/passwd", "run.h5", "")), "/")
    elif kind == "cycle":
        file[place] = parent
    elif kind == "huge":
        file.create_dataset(
            place, shape=rng.choice(((2**32,), (2**33, 4), (1, 2**34), (2**20, 2**20))), chunks=True, dtype="f4"
        )
    elif kind == "name":
        file.create_group(place).create_group("[/red]")
