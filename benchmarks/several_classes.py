"""MNIST, ten classes: bilevel poison, gradient canceling and label flips; softmax regression and the network.

`python -m benchmarks.several_classes FOLDER` does what is left, a cell a run file, and prints the table of what
there is, with MNIST in $POISON_DATA_DIR. `... FOLDER NAME` does one cell; one that was interrupted goes on.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

from poisoncli.core.errors import PoisonError
from poisoncli.reports import summary
from poisoncli.runs import run_file, stages
from poisoncli.runs.description import Choice, Run

MNIST = Choice("mnist", {"classes": tuple(range(10))})
SIZES: dict[str, Any] = {"n_train": 1000, "n_val": 500, "n_test": 2000}
FEW = {"epochs": 6, "size": 50, "rate": 0.01, "schedule": "cosine"}  # of Adam, for the network
SOFTMAX = {"dataset": MNIST, "model": Choice("logistic"), **SIZES}
CNN = {"dataset": MNIST, "model": Choice("cnn"), "trainer": Choice("adam", FEW), **SIZES, "n_val": 2000}
CANCEL = "gradient-canceling"
FAR = {
    "decoy": "ascent",
    "strengths": (0.05, 0.5),
    "outer_steps": 400,
    "outer_rate": 0.5,
}  # features have no bounds


def replaced(method: str, **options: Any) -> dict[str, Any]:
    """5, 10, 15 and 20 % of the rows."""
    return {"attack": Choice(method, {"batch": 50, **options}), "fraction": 0.2}


def added(method: str, **options: Any) -> dict[str, Any]:
    """3 % more rows."""
    return {"attack": Choice(method, options), "fraction": 0.03}


CELLS: dict[str, dict[str, Any]] = {
    "softmax flip": {**SOFTMAX, **replaced("flip")},
    "softmax rmd": {**SOFTMAX, **replaced("rmd", outer_steps=40)},
    "softmax flip 3 %": {**SOFTMAX, "attack": Choice("flip", {"batch": 30}), "fraction": 0.03},
    "softmax canceling clipped": {**SOFTMAX, **added(CANCEL)},
    "softmax canceling unclipped": {**SOFTMAX, **added(CANCEL, box="none")},
    "cnn flip": {**CNN, **replaced("flip")},
    "cnn rmd": {**CNN, **replaced("rmd", outer_steps=15, outer_rate=2.0)},
    "cnn flip 3 %": {**CNN, "attack": Choice("flip", {"batch": 30}), "fraction": 0.03},
    "cnn canceling clipped": {**CNN, **added(CANCEL, strengths=(0.15, 1.0), outer_steps=150)},
    "cnn canceling unclipped": {**CNN, **added(CANCEL, **FAR, box="none")},
    "1 vs 7 svm flip 3 %": {
        "dataset": Choice("mnist", {"classes": (1, 7)}),
        "model": Choice("svm"),
        "lambda_": 0.01,
        **added("alfa"),
        **SIZES,
    },
    "1 vs 7 svm kkt": {
        "dataset": Choice("mnist", {"classes": (1, 7)}),
        "model": Choice("svm"),
        "lambda_": 0.01,
        **added("kkt", repeats=(1, 5), quantiles=(0.2, 0.4), behind=("l2",)),
        **SIZES,
    },
    "1 vs 7 logistic canceling clipped": {
        "dataset": Choice("mnist", {"classes": (1, 7)}),
        "lambda_": 0.01,
        **added(CANCEL),
        **SIZES,
    },
    "1 vs 7 logistic canceling unclipped": {
        "dataset": Choice("mnist", {"classes": (1, 7)}),
        "lambda_": 0.01,
        **added(CANCEL, box="none"),
        **SIZES,
    },
}


def main(folder: Path, wanted: list[str]) -> None:
    """Do the cells, and print the table."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in wanted or CELLS:
        path = folder / f"{name.replace(' ', '-').replace('%', 'percent')}.h5"
        try:
            stages.attack(Run(**CELLS[name]), path, resume=True)
            content = stages.evaluate(path)
        except PoisonError as error:
            warnings.warn(f"{name}: {error}", stacklevel=1)
            continue
        found = [f"{100 * row['test_error']:.1f}" for row in summary.rows(content)]
        print(f"{name:36} {' '.join(f'{one:>6}' for one in found)}", flush=True)
        assert run_file.read(path).evaluations


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
