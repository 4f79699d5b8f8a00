"""Files that unpack to more than they say, or never end."""

from __future__ import annotations

import functools
import io
import json
import random
import struct
import tarfile
import zipfile
import zlib

import numpy as np
from fuzz import templates
from fuzz.case import Case
from fuzz.templates import Templates

BLOCK, BLOCKS = 2**24, 640  # ten GiB of zeros


@functools.cache
def _deflated() -> bytes:
    """Ten GiB of zeros as raw deflate data: one block, repeated, for the compressor is reset after each."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * BLOCKS + packer.flush()


def _gzip(head: bytes = b"") -> bytes:
    """A gzip stream of `head` and then zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + start + _deflated() + bytes(8)


def _zip(name: str, head: bytes, told: int) -> bytes:
    """A zip archive with one member that unpacks to `head` and ten GiB, and claims to be `told` bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH) + _deflated()
    label = name.encode()
    sizes = (0, len(packed), told)
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 0, *sizes, len(label), 0) + label + packed
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 0, *sizes, len(label), 0, 0, 0, 0, 0, 0) + label
    return local + entry + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(local), 0)


def _header(shape: tuple[int, ...]) -> bytes:
    image = io.BytesIO()
    np.lib.format.write_array_header_1_0(image, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return image.getvalue()


def _npz_bombs() -> list[bytes]:
    _, y = templates.table()
    lying = io.BytesIO()
    with zipfile.ZipFile(lying, "w") as archive:
        archive.writestr("x.npy", _header((2**40, 4)) + bytes(64))
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(40):
            archive.writestr(f"x{number or ''}.npy", _header((2**26,)) + bytes(2**20))
    honest = _zip("x.npy", _header((2**31, 1)), 0xFFFFFFF0)
    return [
        _zip("x.npy", _header((2**31, 1)), 1000),
        honest,
        lying.getvalue(),
        many.getvalue(),
        templates.npz(x=np.zeros((2**20, 16), "?"), y=y),
    ]


def _hdf5_bomb(shape: tuple[int, ...], kind: str) -> bytes:
    import h5py

    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        file.create_dataset("x", shape=shape, dtype=kind, chunks=True, compression="gzip")
        file.create_dataset("y", shape=shape[:1], dtype="i1", chunks=True)
    return image.getvalue()


def _mat_bomb() -> bytes:
    """A MATLAB file with a compressed matrix of three GiB."""
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<HH", 0x0100, 0x4D49)
    rows = 2**28
    name = b"X_train\0"
    flags = struct.pack("<IIII", 6, 8, 6, 0) + struct.pack("<IIii", 5, 8, rows, 1) + struct.pack("<II", 1, 7) + name
    body = flags + struct.pack("<II", 9, (rows * 8) & 0xFFFFFFF8)
    whole = struct.pack("<II", 14, (len(body) + rows * 8) & 0xFFFFFFFF) + body
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"\x78\xda" + packer.compress(whole) + packer.flush(zlib.Z_FULL_FLUSH) + _deflated()
    return head + struct.pack("<II", 15, len(packed)) + packed


def _tar(members: list[tuple[str, bytes, str]]) -> bytes:
    """A zipped tar file of names, contents and link targets."""
    image = io.BytesIO()
    with tarfile.open(fileobj=image, mode="w:gz") as archive:
        for name, content, target in members:
            item = tarfile.TarInfo(name)
            item.size, item.linkname = len(content), target
            item.type = tarfile.LNKTYPE if target else tarfile.REGTYPE
            archive.addfile(item, io.BytesIO(content))
    return image.getvalue()


def _own(name: str, content: bytes) -> list[Case]:
    commands = (("defend", "--dataset", name, "-d", "l2"), ("attack", "--dataset", name, "--method", "flip"))
    other = ("evaluate", "--dataset", "digits", "--classes", "0,8", "--poison", name)
    return [Case("archives", command, {name: content}) for command in (*commands, other)]


def _data(dataset: str, name: str, content: bytes) -> Case:
    beside = templates.mnist() if dataset == "mnist" else {}
    return Case(
        "archives",
        ("attack", "--dataset", dataset, "--data-dir", ".", "--fraction", "0.1"),
        {**beside, name: content},
    )


def cases(made: Templates) -> list[Case]:
    """All of them; they are few, for each is made by hand."""
    found = [case for bomb in _npz_bombs() for case in _own("own.npz", bomb)]
    for shape, kind in (
        ((2**32,), "f4"),
        ((2**20, 1600), "f4"),
        ((2**33, 2), "i1"),
        ((100, 2**28), "f8"),
        ((2**62, 2), "f4"),
    ):
        found += _own("own.h5", _hdf5_bomb(shape, kind))
    for index in (2**24, 2**31 - 1, 2**31, 2**40, 2**63 - 1, 2**64):
        found += _own("own.svm", b"".join(b"%d 1:1 %d:1\n" % (row % 2, index) for row in range(200)))
    found += _own("own.csv", b"a,b,y\n" + b"1," * 2**21 + b"\n")
    found += _own(
        "own.csv", b",".join(b"c%d" % i for i in range(200_000)) + b",y\n" + (b"1," * 200_000 + b"1\n") * 3
    )
    found += [*_own("p.mat", _mat_bomb())[2:], _data("enron", "enron/enron_data.mat", _mat_bomb())]
    found.append(_data("enron", "enron/enron_data.mat", _hdf5_bomb((2**32,), "f4")))
    found.append(_data("mnist", "mnist/train-images-idx3-ubyte.gz", _gzip(struct.pack(">IIII", 0x803, 60, 28, 28))))
    found.append(
        _data("mnist", "mnist/train-images-idx3-ubyte.gz", _gzip(struct.pack(">IIII", 0x803, 2**31 - 1, 28, 28)))
    )
    found.append(_data("mnist", "mnist/train-labels-idx1-ubyte.gz", _gzip(struct.pack(">II", 0x801, 2**32 - 1))))
    found.append(_data("imdb", "aclImdb/train/labeledBow.feat.gz", _gzip(b"1 0:1\n")))
    ring = _tar([("enron1/ham/a", b"", "enron1/ham/b"), ("enron1/ham/b", b"", "enron1/ham/a")])
    nested = _tar([(f"enron1/ham/{i}", b"", f"enron1/ham/{max(i - 1, 0)}") for i in range(3000)])
    for content in (ring, nested, _gzip(), _tar([("../../up", b"x", ""), ("/etc/x", b"y", "")])):
        words = b'{"a": 0}'
        case = _data("enron", "enron1/enron1.tar.gz", content)
        args = (*case.args, "-o", "dataset.source=mails")
        found.append(Case("archives", args, {**case.files, "enron1/vocab.json": words}))
        found.append(_data("cifar10", "cifar-10-binary.tar.gz", content))
    return found + _deep(made)


def _deep(made: Templates) -> list[Case]:
    """Groups in groups, links in circles, JSON in JSON, and arrays that declare more than there is."""
    import h5py

    found = []
    for kind in ("deep", "cycle", "many", "json", "huge", "strings"):
        image = io.BytesIO(made.run("flip")["flip.h5"])
        with h5py.File(image, "r+") as file:
            if kind == "deep":
                file.create_group("/".join(["g"] * 3000))
            elif kind == "cycle":
                group = file.create_group("defend/a")
                group["b"], group["c"] = file["defend"], group
            elif kind == "many":
                for number in range(3000):
                    file.create_group(f"evaluate/{number}")
            elif kind == "json":
                file.attrs["run"] = '{"a":' * 5000 + "1" + "}" * 5000
            elif kind == "huge":
                del file["attack/x"]
                file["attack"].create_dataset("x", shape=(1, 2**16, 2**16), dtype="f4", chunks=True)
            else:
                file.attrs["run"] = json.dumps({"dataset": "x" * 60000})
        verbs = (("evaluate", "flip.h5"), ("export", "flip.h5", "out.csv"), ("report", "flip.h5"))
        found += [Case("archives", verb, {"flip.h5": image.getvalue()}) for verb in verbs]
    for deep in (b"a = " + b"[" * 50_000, b"[" + b"a." * 20_000 + b"b]\n", b"a=" + b"{b=" * 20_000):
        found.append(Case("archives", ("attack", "--config", "r.toml"), {"r.toml": deep}))
        found.append(Case("archives", ("sweep", "--dry-run", "--config", "r.toml"), {"r.toml": deep}))
    return found


def case(rng: random.Random, made: Templates) -> Case:
    """One of them."""
    return rng.choice(cases(made))
