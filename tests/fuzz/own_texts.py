"""Folders of texts, whole and odd."""

from __future__ import annotations

import random

from fuzz.case import Case
from fuzz.mutate import WORDS, damaged

_HAM = ["meeting", "report", "lunch", "today", "project", "notes"]
_SPAM = ["free", "money", "pills", "cheap", "offer", "now"]


def _folder(rng: random.Random) -> dict[str, bytes]:
    """Files by name; classes may lack files, files may be empty or no text."""
    names = rng.choice(
        (("ham", "spam"), ("ham", "spam"), ("a", "b", "c"), ("only",), ("ä [/red]", "b,c"), ("0", "1"))
    )
    files = {}
    for place, name in enumerate(names):
        words = (_HAM, _SPAM, _HAM + _SPAM)[place % 3]
        for number in range(rng.choice((0, 1, 3, 12, 30, 30, 30))):
            text = " ".join(rng.choices(words, k=rng.choice((1, 5, 20)))).encode()
            how = rng.random()
            text = (
                b""
                if how < 0.05
                else damaged(rng, text)
                if how < 0.15
                else rng.randbytes(30)
                if how < 0.2
                else text
            )
            files[f"mails/{name}/{rng.choice(('', '', '', 'deep/'))}{number}.txt"] = text
    more = (
        "mails/readme.txt",
        "mails/.hidden/x",
        f"mails/{names[0]}/.DS_Store",
        f"mails/{names[0]}/empty/",
        "mails/none/",
    )
    files.update(dict.fromkeys(rng.sample(more, rng.choice((0, 0, 1, 3))), b""))
    return files or {"mails/": b""}


def case(rng: random.Random) -> Case:
    """A verb on a folder of texts."""
    files, words = _folder(rng), rng.choice(((), ("-o", "dataset.words=5"), ("-o", "dataset.ngrams=2")))
    said = rng.choice(
        (
            (),
            (),
            (),
            ("--column", "text=category"),
            ("--column", "file=text"),
            ("--ignore", "text"),
            ("--target", rng.choice(("label", "text", *WORDS))),
            ("--classes", "ham,spam"),
        )
    )
    table = rng.choice(("out.csv", "out.npz", "out.parquet"))
    then = tuple(
        rng.sample(
            (
                ("evaluate", "run.h5", *rng.choice(((), ("--metric", "auc"), ("-d", "all")))),
                (
                    "defend",
                    "run.h5",
                    "-d",
                    rng.choice(("l2", "knn", "svd")),
                    *rng.choice(((), ("--export", table))),
                ),
                ("export", "run.h5", table),
                ("report", "run.h5"),
                ("collapse", "run.h5"),
            ),
            rng.choice((0, 1, 2, 3)),
        )
    )
    method = rng.choice(
        (
            ("--method", "alfa"),
            ("--method", "kkt", "-o", "splits=1", "-o", "repeats=2"),
            ("--method", "minmax", "-o", "repeats=2", "-o", "quantiles=0.4"),
            ("--method", "flip"),
            ("--method", "rmd"),
        )
    )
    attack = (
        "attack",
        "--dataset",
        "mails",
        *method,
        "--fraction",
        rng.choice(("0.03", "0.1", "0.5")),
        *words,
        *said,
    )
    command = rng.choice(
        (
            attack,
            attack,
            ("datasets", "mails", *said[: 0 if "--classes" in said else None]),
            ("defend", "--dataset", "mails", "-d", rng.choice(("l2", "slab", "knn", "all")), *said),
            ("evaluate", "--dataset", "mails", *said),
            ("defend", "--dataset", "mails", "-d", "l2", "--export", table),
            ("attack", "--train", "mails", "--test", "mails", *method),
        )
    )
    return Case("folders of texts", command, files, then=then if command == attack else ())
