"""Small runs of every attack and defense with fixed seeds, to compare two states of the code to the bit.

    python -m tests.golden write FOLDER       # run files, evaluated, by the code as it is
    python -m tests.golden compare ONE OTHER  # all arrays and descriptions of two folders; status 1 if any differ
    python -m tests.golden open FOLDER        # whether the code as it is tabulates files that another state wrote

FOLDER must be new or hold what an earlier call of `write` left.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
from pathlib import Path

import h5py
import numpy as np

SVM = "--dataset breast-cancer --model svm --lambda 0.05 --n-test 100"
FEW = "-o repeats=3,8 -o quantiles=0.3,0.5 -o splits=2"
PLANE = "--dataset gaussians --n-train 60 --n-val 30 --n-test 30"
REAL = "--dataset diabetes --n-train 80 --n-val 40 --n-test 60 -o outer_steps=4"
DIGITS = "--dataset digits --n-train 60 --n-val 30 --n-test 60 -o outer_steps=6 -o trainer.epochs=30 --fraction 0.2"
ATTACKS = {
    "rmd": f"--method rmd {DIGITS} --reps 2",
    "rmd-learned": f"--method rmd {DIGITS} --learn-lambda --reps 2 -o normalize=batch",
    "rmd-l1": f"--method rmd {DIGITS} --reg l1 --lambda 0.01",
    "rmd-clean": f"--method rmd {DIGITS} --lambda clean",
    "rmd-layers": f"--method rmd {DIGITS} --model mlp -o model.hidden=6,3 --learn-lambda --per-layer",
    "rmd-class": f"--method rmd {DIGITS} --target-rows class:8 --target-label 0 --learn-lambda",
    "rmd-margin": f"--method rmd {DIGITS} -o target_loss=margin -o outer=adam",
    "rmd-optimistic": f"--method rmd {DIGITS} -o outer=optimistic --trainer momentum",
    "rmd-warm": f"--method rmd {DIGITS} --learn-lambda -o warm=true -o restarts=2 --trainer adam",
    "rmd-forward": f"--method rmd {PLANE} --hypergradient forward -o outer_steps=4",
    "rmd-cg": f"--method rmd {PLANE} --hypergradient cg -o outer_steps=4 --reg l2 --lambda 0.1",
    "rmd-exact": f"--method rmd {PLANE} --hypergradient exact -o outer_steps=4 --reg l2 --lambda 0.1",
    "rmd-last": f"--method rmd {PLANE} -o last=10 -o outer_steps=4",
    "rmd-batches": f"--method rmd {DIGITS} -o trainer.size=20 -o trainer.schedule=cosine",
    "flip": f"--method flip {PLANE} --reps 2",
    "flip-real": "--method flip --dataset diabetes --n-train 80 --n-val 40 --n-test 60",
    "statp": "--method statp --dataset diabetes --n-train 80 --n-val 40 --n-test 60",
    "stealthy": f"--method stealthy {REAL} -o alpha=0.3 --reps 2",
    "stealthy-damage": f"--method stealthy {REAL} -o gradient=point -o box=domain",
    "stealthy-mlp": f"--method stealthy {REAL} --model mlp -o model.hidden=4,2 -o alpha=0.5 -o start=copy",
    "kkt": f"--method kkt {SVM} {FEW}",
    "minmax": f"--method minmax {SVM} -o repeats=3 -o quantiles=0.3,0.5",
    "minmax-basic": f"--method minmax-basic {SVM}",
    "influence": f"--method influence {SVM} -o steps=6 -o starts=1",
    "influence-basic": f"--method influence-basic {SVM} -o steps=4",
    "alfa": f"--method alfa {SVM}",
    "gradient-canceling": f"--method gradient-canceling {DIGITS} -o outer_steps=60 -o strengths=0.1,1",
    "multisvm": "--method minmax --dataset digits --classes 0,1,2 --model multisvm -o repeats=2 -o quantiles=0.3",
}
REGRESSION = ("trim", "huber", "sever", "proda", "duti", "bayesclean")
FILTERS = ("l2", "slab", "loss", "svd", "knn")
DEFENSES = {
    "rmd": ("trim", "sever", "loss"),
    "flip": (*FILTERS, "trim", "sever"),
    "stealthy": REGRESSION,
    "kkt": FILTERS,
    "multisvm": ("l2", "loss"),
}


def poison(words: list[str]) -> str:
    """What a command prints to stdout. Raises `RuntimeError` unless it ends with status 0."""
    from poisoncli.cli import app

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            app(words, standalone_mode=False)
        except SystemExit as stop:
            if stop.code:
                raise RuntimeError(f"poison {' '.join(words)}: {err.getvalue()}") from None
    return out.getvalue()


def write(folder: Path) -> None:
    """Run files, evaluated, and what `evaluate --json` prints of each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, words in ATTACKS.items():
        path = folder / f"{name}.h5"
        if path.with_suffix(".json").exists():
            continue
        poison(["attack", *words.split(), "--seed", "3", "--out", str(path), "--force", "--quiet"])
        for defense in DEFENSES.get(name, ()):
            poison(["defend", str(path), "--defense", defense, "--quiet"])
        text = poison(["evaluate", str(path), "--json", "--quiet"])
        path.with_suffix(".json").write_text(text.replace(str(folder), ""), encoding="utf-8")
        print(name, flush=True)


def parsed(text: str) -> str:
    """JSON, sorted: the order in which a method has its options is no difference."""
    return json.dumps(json.loads(text), sort_keys=True)


def contents(path: Path) -> dict[str, np.ndarray | str]:
    """Every array and description of a run file, by its place; versions of packages are left out."""
    found: dict[str, np.ndarray | str] = {}

    def add(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and name != "timeline":  # seconds
            found[name] = item[()]
        found.update(
            {f"{name}@{key}": parsed(value) for key, value in item.attrs.items() if key in ("run", "defense")}
        )

    with h5py.File(path, "r") as file:
        add("", file)
        file.visititems(add)
    return found


def differences(one: Path, other: Path) -> list[str]:
    """Where two run files differ."""
    first, second = contents(one), contents(other)
    found = sorted(
        name for name in first.keys() ^ second.keys() if not name.startswith("metrics")
    )  # older lack them
    for name in sorted(first.keys() & second.keys()):
        a, b = first[name], second[name]
        same = (
            a == b
            if isinstance(a, str) or isinstance(b, str)
            else np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        )
        if not same:
            found.append(name)
    return found


def same_tables(one: Path, other: Path) -> bool:
    """Whether two states print the same for what both print."""
    first, second = (json.loads(path.read_text(encoding="utf-8")) for path in (one, other))
    pairs = zip(first.pop("rows"), second.pop("rows"), strict=True)
    return first == second and all(a[key] == b[key] for a, b in pairs for key in a.keys() & b.keys())


def compare(one: Path, other: Path) -> int:
    """How many of the runs differ."""
    count = 0
    for name in ATTACKS:
        places = [folder / f"{name}.h5" for folder in (one, other)]
        found = [str(path) for path in places if not path.exists()] or differences(*places)
        if not found and not same_tables(*(folder / f"{name}.json" for folder in (one, other))):
            found = ["what evaluate prints"]
        count += bool(found)
        print(f"{name}: {'equal' if not found else 'DIFFERS: ' + ', '.join(found)}")
    return count


def reopen(folder: Path) -> int:
    """How many of the files in a folder cannot be tabulated."""
    count = 0
    for path in sorted(folder.glob("*.h5")):
        try:
            poison(["evaluate", str(path), "--json", "--quiet"])
        except Exception:
            traceback.print_exc()
            count += 1
    print(f"{count} files could not be opened")
    return count


def main(words: list[str]) -> int:
    what, *places = words
    if what == "write":
        write(Path(places[0]))
        return 0
    return compare(*map(Path, places)) if what == "compare" else reopen(Path(places[0]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
