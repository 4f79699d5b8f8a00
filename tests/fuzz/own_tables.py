"""Tables with columns of every kind and cells missing, and all that a user can say of them."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable

from fuzz.case import Case
from fuzz.mutate import NUMBERS, WORDS
from fuzz.templates import SHORT

_ROWS = (6, 24, 60, 60, 60, 130)
_TEXT = ["the", "cheap", "meeting", "pills", "report", "free", "money", "lunch", "today", "now", "friend", "bank"]
_ODD_NAMES = (  # of columns
    "a,b",
    "a=b",
    "[/red]",
    "ä 🙂",
    " b ",
    "1",
    "a:b",
    '"q"',
    "row",
    "poison",
    "",
    "x=1:2",
    "-c",
    "Target",
)
_COLUMNS: dict[str, Callable[[random.Random, int], str]] = {  # a cell of a row, which has a class of itself
    "income": lambda rng, row: f"{rng.gauss(row % 2, 1):.2f}",
    "age": lambda rng, row: str(rng.randrange(18, 90)),
    "smoker": lambda rng, row: rng.choice(("yes", "no")),
    "answer": lambda rng, row: rng.choice(("True", "False")),
    "city": lambda rng, row: rng.choice(("Rome", "Oslo", "Bonn")),
    "rare": lambda rng, row: f"only{row}" if row % 9 == 0 else "many",
    "zip": lambda rng, row: f"{rng.randrange(10):05d}",
    "note": lambda rng, row: " ".join(rng.choices(_TEXT[6 * (row % 2) :], k=8)),
    "born": lambda rng, row: f"19{rng.randrange(10, 99)}-0{rng.randrange(1, 10)}-1{rng.randrange(10)}",
    "seen": lambda rng, row: f"2020-01-{1 + row % 28:02d} {row % 24:02d}:{row % 60:02d}:00",
    "slash": lambda rng, row: f"{1 + row % 28:02d}/{1 + row % 12:02d}/2021",
    "id": lambda rng, row: str(row + 1),
    "uuid": lambda rng, row: f"{rng.getrandbits(64):x}-{row}",
    "same": lambda rng, row: "5",
    "empty": lambda rng, row: "",
    "unix": lambda rng, row: str(1_600_000_000 + row),
    "tiny": lambda rng, row: f"{rng.random() * 1e-9:.3e}",
    "huge": lambda rng, row: f"{rng.random() * 1e37:.3e}",
    "group": lambda rng, row: f"g{row // 4}",
    "part": lambda rng, row: ("train", "train", "train", "val", "test", "test")[row % 6 if row > 3 else row % 2],
    "when": lambda rng, row: f"2019-{1 + row // 28 % 12:02d}-{1 + row % 28:02d}",
    "mixed": lambda rng, row: rng.choice(("1", "2", "x", "2020-01-01")),
}
_TARGETS: dict[str, Callable[[random.Random, int], str]] = {
    "two": lambda rng, row: str(row % 2),
    "from one": lambda rng, row: str(1 + row % 2),
    "words": lambda rng, row: ("ham", "spam")[row % 2],
    "answers": lambda rng, row: ("yes", "no")[row % 2],
    "markup": lambda rng, row: ("[red]", "ä,b")[row % 2],
    "three": lambda rng, row: str(row % 3),
    "three words": lambda rng, row: ("a", "b", "c")[row % 3],
    "ten": lambda rng, row: str(row % 10),
    "ten words": lambda rng, row: f"class {row % 10}",
    "skewed": lambda rng, row: str(int(row % 12 == 0)),
    "real": lambda rng, row: f"{rng.gauss(row % 2, 1):.3f}",
    "large": lambda rng, row: f"{1e30 * rng.random():.3e}",
    "floats": lambda rng, row: f"{row % 2}.0",
}
_KINDS = ("number", "whole", "yes/no", "category", "text", "date", "identifier", "bool", "kind", "")


def _pick(rng: random.Random, names: list[str]) -> str:
    return rng.choice(names) if rng.random() < 0.93 else rng.choice(("no such", *WORDS))


def _table(rng: random.Random) -> tuple[bytes, list[str], list[str], bool]:
    """A CSV file, the names of its columns, the distinct targets, and whether these are real numbers."""
    rows, kinds = rng.choice(_ROWS), rng.sample(sorted(_COLUMNS), rng.choice((1, 2, 3, 5, 9)))
    if "income" not in kinds and rng.random() < 0.8:
        kinds.append("income")
    names = [rng.choice(_ODD_NAMES) if rng.random() < 0.04 else kind for kind in kinds]
    missing = [rng.choice((0, 0, 0, 0.1, 0.5, 0.97)) for _ in kinds]
    target = rng.choice(sorted(_TARGETS))
    lost = rng.choice((0, 0, 0, 0.1, 0.9))
    lines = []
    for row in range(rows):
        cells = [
            "" if rng.random() < share else _COLUMNS[kind](rng, row)
            for kind, share in zip(kinds, missing, strict=True)
        ]
        lines.append([*cells, "" if rng.random() < lost else _TARGETS[target](rng, row)])
    if rng.random() < 0.1:
        rng.choice(lines)[rng.randrange(len(names))] = rng.choice((*map(str, NUMBERS), *WORDS)).replace("\0", "")
    image = io.StringIO()
    csv.writer(image).writerows([[*names, "y"], *lines])
    classes = sorted({line[-1] for line in lines} - {""})
    return image.getvalue().encode(), names, classes, target in ("real", "large")


def _said(rng: random.Random, names: list[str]) -> list[str]:
    """What all verbs that read a table let the user say of its columns."""
    found = []
    if rng.random() < 0.4:
        for _ in range(rng.choice((1, 1, 2))):
            found += ["--column", f"{_pick(rng, names)}={rng.choice(_KINDS)}"]
    if rng.random() < 0.25:
        found += ["--ignore", ",".join(_pick(rng, [*names, "y"]) for _ in range(rng.choice((1, 2))))]
    if rng.random() < 0.1:
        found += ["--target", _pick(rng, [*names, "y", "y"])]
    return found


def _limits(rng: random.Random, names: list[str]) -> list[str]:
    """What poison may be."""
    found = []
    for flag in rng.sample(
        ("--frozen", "--only-up", "--only-down", "--columns-changed", "--range"), rng.choice((0, 1, 1, 2, 3))
    ):
        if flag == "--columns-changed":
            found += [flag, str(rng.choice((0, 1, 2, 100, -1)))]
        elif flag == "--range":
            low, high = (rng.choice(("", "0", "20", "1e9", "-5", "nan", "x", "inf")) for _ in range(2))
            found += [flag, f"{_pick(rng, names)}={low}:{high}"]
        else:
            found += [flag, ",".join(_pick(rng, names) for _ in range(rng.choice((1, 1, 2))))]
    return found


def _parts(rng: random.Random, names: list[str], files: dict[str, bytes]) -> list[str]:
    """How the rows are parted, mostly at random."""
    how = rng.choice(("", "", "", "split", "group", "time", "files", "files", "sizes", "both"))
    if how == "files":
        files["test.csv"] = files["own.csv"] if rng.random() < 0.7 else _table(rng)[0]
        files["val.csv"] = files["own.csv"] if rng.random() < 0.7 else b"y\n1\n"
        return [
            "--test",
            rng.choice(("test.csv", "test.csv", "no.csv", "own.csv")),
            *rng.choice(((), ("--val", "val.csv"))),
        ]
    usual = {"split": "part", "group": "group", "time": "when"}
    if how in usual:
        name = usual[how] if usual[how] in names and rng.random() < 0.8 else _pick(rng, names)
        return [f"--{how}-column", name]
    if how == "both":
        return ["--val", "own.csv", *rng.choice(((), ("--split-column", _pick(rng, names))))]
    if how == "sizes":
        return [
            part
            for flag in ("train", "val", "test")
            for part in rng.choice(((), (f"--n-{flag}", rng.choice(("1", "3", "10", "40")))))
        ]
    return []


def _attack(
    rng: random.Random, names: list[str], classes: list[str], real: bool, files: dict[str, bytes]
) -> list[str]:
    """Options of `attack`, of which the most are for these targets; cheap ones."""
    usual = ("flip", "statp", "stealthy") if real else ("flip", "flip", "alfa", "kkt", "minmax", "rmd")
    method = rng.choice((*usual, *usual, "influence", "given"))
    found = ["attack", rng.choice(("--dataset", "--dataset", "--train")), "own.csv", "--method", method]
    found += SHORT if method in ("rmd", "stealthy") else ()
    if method in ("kkt", "minmax", "alfa", "influence"):
        found += ["--lambda", "0.1", "-o", "remove=0.05"]
        found += {
            "kkt": ["-o", "splits=1", "-o", "repeats=2"],
            "minmax": ["-o", "repeats=2", "-o", "quantiles=0.4"],
        }.get(method, [])
    found += ["-o", "trainer.epochs=3", "-o", "trainer.rate=0.1"] if rng.random() < 0.7 else []
    found += ["--fraction", rng.choice(("0.1", "0.3"))] if rng.random() < 0.7 else []
    found += _parts(rng, names, files)
    found += _limits(rng, names) if rng.random() < 0.5 else []
    found += ["--balance"] if rng.random() < 0.1 else []
    found += ["--reps", "2"] if rng.random() < 0.2 else []
    if rng.random() < 0.15:
        some = rng.sample(classes, min(len(classes), rng.choice((2, 2, 3)))) if classes else []
        found += ["--classes", ",".join(some) or "all"]
    if rng.random() < 0.2 and method == "rmd":
        found += ["--poison-label", rng.choice(("other", "nearest", "least-likely", *classes[:2], "x"))]
    if rng.random() < 0.2:
        found += [
            "--target-rows",
            rng.choice(("test", "train", f"class:{(classes or ['0'])[-1]}", "class:x", "rows:rows.txt")),
        ]
        found += ["--target-label", rng.choice((*classes[:2], "x"))] if rng.random() < 0.4 else []
        files["rows.txt"] = rng.choice((b"1\n2\n", b"0", b"3 4", b"99999", b"x", b"-1\n", b""))
    if rng.random() < 0.15:
        found += ["--model", rng.choice(("mlp", "linear", "svm", "multisvm", "logistic", "cnn"))]
    if rng.random() < 0.15:
        found += [
            "-o",
            rng.choice(("dataset.words=3", "dataset.ngrams=3", "dataset.task=real", "dataset.task=classes")),
        ]
    return found


def _then(rng: random.Random, names: list[str], classes: list[str], real: bool) -> tuple[tuple[str, ...], ...]:
    """Verbs on the run file."""
    metric = rng.choice(
        ("nmse", "mae", "r2")
        if real
        else ("error", "balanced-error", "recall", "auc", "log-loss", f"recall:{(classes or ['x'])[0]}")
    )
    limit = rng.choice((("--fail-above", "0.2"), ("--fail-below", "0.5"), ()))
    every = [
        ("evaluate", "run.h5", "--metric", metric, *limit),
        ("evaluate", "run.h5", *rng.choice((("--csv",), ("--json",), ("-d", "all")))),
        (
            "defend",
            "run.h5",
            "-d",
            rng.choice(("trim", "huber") if real else ("l2", "knn", "slab", "all")),
            *rng.choice(((), ("--export", "kept.csv"), ("--export", "kept.npz"), ("--export", "kept.parquet"))),
        ),
        ("export", "run.h5", rng.choice(("out.csv", "out.npz", "out.parquet"))),
        ("report", "run.h5", *rng.choice(((), ("--metric", metric), ("--draw", "norm"), ("--draw", "position")))),
        ("datasets", "out.csv"),
    ]
    chosen = rng.sample(every[:-1], rng.choice((0, 1, 1, 2, 3)))
    if ("export", "run.h5", "out.csv") in chosen:
        chosen.append(
            rng.choice(
                (every[-1], ("defend", "--dataset", "out.csv", "-d", "l2"), ("evaluate", "--dataset", "out.csv"))
            )
        )
    return tuple(chosen)


def case(rng: random.Random) -> Case:
    """A verb that reads a table, and after an attack others that read its run file."""
    content, names, classes, real = _table(rng)
    files = {"own.csv": content}
    verb = rng.choice(("datasets", "datasets", "attack", "attack", "attack", "defend", "evaluate"))
    if verb == "attack":
        args = [*_attack(rng, names, classes, real, files), *_said(rng, names)]
        return Case("own tables", tuple(args), files, then=_then(rng, names, classes, real))
    if verb == "datasets":
        return Case(
            "own tables", ("datasets", "own.csv", *_said(rng, names), *rng.choice(((), ("--json",)))), files
        )
    usual = ("trim", "huber", "proda") if real else ("l2", "slab", "loss", "knn", "svd")
    defenses = ["-d", rng.choice((*usual, *usual, "sever", "bayesclean", "duti", "all"))]
    more = ["--csv"] if verb == "defend" and rng.random() < 0.3 else []
    if verb == "defend" and rng.random() < 0.3:
        more += ["--export", rng.choice(("out.csv", "out.parquet", "out.npz"))]
    if rng.random() < 0.2:
        files["p.csv"] = content
        more += ["--poison", "p.csv"]
    return Case("own tables", (verb, "--dataset", "own.csv", *defenses, *more, *_said(rng, names)), files)
