"""What poison made for one model does to others: three data sets, two surrogates, four scikit-learn models.

`python -m benchmarks.transfer FOLDER [NAME ...]` crafts what is not there yet, prints the tables, and trains every
model by hand on the exported rows, whose mean error each figure must be. It needs no data beyond the packages' own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from poisoncli.reports import summary, transfer
from poisoncli.runs import stages, victims
from poisoncli.runs.description import Choice, Run
from poisoncli.runs.export import export
from poisoncli.runs.prepare import Prepared, restore
from poisoncli.runs.run_file import RunFile
from poisoncli.training import own_models
from poisoncli.training.own_models import Victim

VICTIMS = (
    Victim("sklearn.linear_model:LogisticRegression", {"max_iter": 5000}),
    Victim("sklearn.ensemble:HistGradientBoostingClassifier"),
    Victim("sklearn.ensemble:RandomForestClassifier"),
    Victim("sklearn.neighbors:KNeighborsClassifier"),
)
SURROGATES = ("logistic", "mlp")
FOUND = {"rate": 0, "epochs": 0}  # from the rows
RUNS: dict[str, dict[str, Any]] = {
    "breast-cancer": {
        "dataset": Choice("breast-cancer"),
        "attack": Choice("rmd", {"outer_steps": 25, "inner_rate": 0, "inner_steps": 0}),
        "trainer": Choice("sgd", FOUND),
        "fraction": 0.14,
        "n_train": 200,
        "n_val": 60,
        "n_test": 160,
    },
    "digits": {
        "dataset": Choice("digits", {"classes": tuple(range(10))}),
        "attack": Choice("rmd", {"outer_steps": 60, "batch": 50}),
        "fraction": 0.2,
        "n_train": 500,
        "n_val": 300,
        "n_test": 600,
    },
    "fraud": {
        "attack": Choice("rmd", {"outer_steps": 20, "batch": 60, "inner_steps": 50}),
        "fraction": 0.04,
        "n_train": 1500,
        "n_val": 600,
        "n_test": 5000,
    },
}
MARKS = ("poison", "row", "replaced", "weight", "score")


def main(folder: Path, wanted: list[str]) -> None:
    """Do what is left, and print."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in wanted or RUNS:
        for surrogate in SURROGATES:
            path = folder / f"{name}-{surrogate}.h5"
            run = {"dataset": _fraud(folder), **RUNS[name]} if name == "fraud" else RUNS[name]
            stages.attack(Run(**run, model=Choice(surrogate), repetitions=3), path, resume=True)
            stages.defend(path, "l2")
            stages.evaluate(path)
            content = victims.add(path, VICTIMS)
            _print(name, surrogate, content)
            _compare(content, folder)


def _fraud(folder: Path) -> Choice:
    """A table of 20,000 rows, 2 % of them fraud."""
    import pandas as pd
    from sklearn.datasets import make_classification

    path = folder / "fraud.csv"
    if not path.exists():
        x, y = make_classification(
            20_000, 12, n_informative=8, n_redundant=2, n_clusters_per_class=3, weights=[0.98], class_sep=1.6,
            flip_y=0.002, random_state=0,
        )  # fmt: skip
        table = pd.DataFrame(x.round(4), columns=[f"v{number}" for number in range(12)])
        table.assign(fraud=np.where(y == 1, "yes", "no")).to_csv(path, index=False)
    return Choice("file", {"path": str(path), "target": "fraud"})


def _print(name: str, surrogate: str, content: RunFile) -> None:
    """The table of a run file in Markdown; where one class is rare, of the balanced error too."""
    for metric in ("error", "balanced-error") if name == "fraud" else ("error",):
        found = transfer.table(content, summary.all_rows(content, metric), transfer.rows(content, metric))
        print(f"\n{name}, poison made for {surrogate}: {metric}\n")
        for line in (found.columns, ["---"] * len(found.columns), *found.rows):
            print("| " + " | ".join(line) + " |")


def _compare(content: RunFile, folder: Path) -> None:
    """Say by how much the figures are off those of training by hand on exported rows."""
    prepared, worst = restore(content), 0.0
    rows = transfer.rows(content, "error")
    for row in rows:
        errors = [_by_hand(prepared, content, row, r, folder) for r in range(prepared.run.repetitions)]
        worst = max(worst, abs(float(np.mean(errors)) - row["value"]))
    print(
        f"\n{len(rows)} figures and trainings by hand on exported rows: largest difference {worst:.2g}", flush=True
    )


def _by_hand(prepared: Prepared, content: RunFile, row: dict[str, Any], r: int, folder: Path) -> float:
    """The test error of one of scikit-learn's models that is trained on the exported rows of a repetition."""
    import pandas as pd

    defense, table = "" if row["defense"] == "none" else row["defense"], prepared.dataset.table
    out, test = folder / ("rows.npz" if table is None else "rows.csv"), content.split["test"][r]
    export(content, out, fraction=row["fraction"], repetition=r, defense=defense)
    model = own_models.build(Victim(row["source"], row["options"]), content.victims[0].seeds[r])
    if table is None:
        with np.load(out) as rows:
            said = model.fit(rows["x"], rows["y"]).predict(prepared.dataset.x[test])
        return float(np.mean(said != prepared.dataset.y[test]))
    rows = pd.read_csv(out).drop(columns=list(MARKS), errors="ignore")
    features = [name for name in rows if name != table.target]
    said = model.fit(rows[features], rows[table.target]).predict(table.frame[features].iloc[test])
    return float(np.mean(said != table.frame[table.target].iloc[test]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
