"""Tables for people: what `poison evaluate` and `poison defend` print, as columns and rows of text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from poisoncli.core.data import Dataset
from poisoncli.reports import summary
from poisoncli.runs import serialize
from poisoncli.runs.own_rows import WeighedRows
from poisoncli.runs.replay import Detection
from poisoncli.runs.run_file import RunFile
from poisoncli.tables.inspect import Inspected
from poisoncli.training.metrics import is_high, is_share

Row = dict[str, Any]  # of `summary.rows`
# columns of words; the others are numbers
WORDS = ("defense", "was told", "name", "classes", "where", "what", "column", "kind", "what is done", "class")


class Table(NamedTuple):
    """A title, which may have several lines, names of columns, and rows of as many texts."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def stages(content: RunFile, table: Sequence[Row]) -> Table:
    """The rows of a run without a defense; columns that say nothing here are left out."""
    times = table[0]["repetitions"]
    spread = f"; mean ± standard error of {times} repetitions" if times > 1 else ""
    penalized = any(value > 0 for row in table for value in row["lambda"])
    columns: dict[str, Callable[[Row], str]] = {
        "poison": lambda row: f"{row['fraction']:.1%}",
        "rows": lambda row: str(row["poison"]),
        table[0]["measure"]: percent,
    }
    if table[0]["measure"] == "least recall":
        for name in content.classes:
            columns[f"recall of {name}"] = lambda row, name=name: share(row["class_recall"][name])
    if "test_error_relaxed" in table[0] and table[0]["measure"] in ("test error", "test NMSE"):
        columns["unrounded"] = lambda row: percent({**row, **_as_it_was(row, "relaxed")})
        columns["rounded, not exchanged"] = lambda row: percent({**row, **_as_it_was(row, "rounded")})
    if any(row["val_loss"] == row["val_loss"] for row in table):  # not NaN: there are validation rows
        columns["validation loss"] = lambda row: f"{row['val_loss']:.3f}"
    if penalized:
        columns["lambda"] = lambda row: _listed(row["lambda"], ".2g")
        columns["log(n lambda)"] = lambda row: _listed(row["log_lambda"], ".1f")
    columns["||w||²/d"] = lambda row: _listed(row["layer_norm"], ".2g")
    if "target_rate" in table[0]:
        columns["target rows hit"] = lambda row: share(row["target_rate"])
    if selected := table[0].get("selected"):
        middle = len(selected) // 2
        columns[f"consistency (top {selected[middle]} weights)"] = lambda row: f"{row['consistency'][middle]:.2f}"
    title = f"{summary.title(content)}\n{summary.label(content)}{spread}"
    return Table(title, list(columns), [[cell(row) for cell in columns.values()] for row in table])


def confusion(content: RunFile, shares: np.ndarray, defense: str) -> list[Table]:
    """What becomes of each class without poison and with most of it, of `stage_scores.confusion`: two tables."""
    behind = "" if defense == "none" else f", behind {defense}"
    counts, n = content.poison.counts, serialize.from_json(content.run).n_train
    return [
        Table(
            f"{counts[stage] / n:.1%} poison{behind}\n% of the test rows of each class, by what they come out as",
            ["class", *content.classes, "error"],
            [
                [name, *map(_whole_percent, row), "-" if np.isnan(row[number]) else f"{1 - row[number]:.1%}"]
                for number, (name, row) in enumerate(zip(content.classes, mean, strict=True))
            ],
        )
        for stage in sorted({0, len(counts) - 1})
        for mean in [shares[:, stage].mean(axis=0)]
    ]


def _whole_percent(share: float) -> str:
    """Short, for ten classes stand beside each other; nothing for none at all, that the others stand out."""
    return "-" if np.isnan(share) else f"{100 * share:.0f}" if share else ""


def columns(found: Inspected, path: str) -> Table:
    """What the columns of a user's file are, and what will be done with each."""
    rows = [
        [column.name, column.kind, f"{column.missing:,}", f"{column.distinct:,}", found.uses[column.name]]
        for column in found.columns
    ]
    title = f"{path}: {len(found.frame):,} rows"
    return Table(title, ["column", "kind", "missing", "distinct", "what is done"], rows)


def balance(dataset: Dataset, target: str) -> Table:
    """The classes of a target and their rows, or what its numbers range over."""
    y = np.asarray(dataset.y)
    title = f"target {target}: {len(y):,} rows"
    if dataset.task == "real":
        values = {"least": y.min(), "median": np.median(y), "mean": y.mean(), "largest": y.max()}
        return Table(f"{title}, real numbers", list(values), [[f"{value:.6g}" for value in values.values()]])
    counts = np.bincount(y.astype(int))
    rows = [
        [name, f"{count:,}", f"{count / len(y):.1%}"]
        for name, count in zip(dataset.class_names, counts, strict=True)
    ]
    return Table(title, ["class", "rows", "share"], rows)


def defended(table: Sequence[Row]) -> Table:
    """What each defense removed, and what that was worth."""
    shares = {
        "gain": "gain",
        "rows removed": "removed",
        "poison among them": "precision",
        "poison removed": "recall",
        "clean removed": "clean_removed",
    }
    rows = []
    for row in table:
        first = row["poison"] == 0
        cells = [percent(row), *(share(row[key]) for key in shares.values())]
        rows.append(
            [row["defense"] if first else "", f"{row['fraction']:.1%}", *cells, row["knows"] if first else ""]
        )
    columns = ["defense", "poison", table[0]["measure"], *shares, "was told"]
    return Table("Behind a defense", columns, rows)


def least(table: Sequence[Row]) -> str:
    """The best that a defense attains at the largest fraction of poison, in words."""
    most = max(row["poison"] for row in table)
    best = max if is_high(table[0]["measure"]) else min
    found = best((row for row in table if row["poison"] == most), key=lambda row: row["value"])
    word = "highest" if is_high(found["measure"]) else "least"
    return f"{word} {found['measure']} over the defenses: {percent(found)} ({found['defense']})"


def side_by_side(contents: Sequence[RunFile], tables: Sequence[Sequence[Row]]) -> list[Table]:
    """Test errors, or another metric, a column for each run; and what a penalty takes from that without one."""
    titles = list(dict.fromkeys(map(summary.title, contents)))
    labels = summary.labels(contents)
    bare = [[row for row in table if row["defense"] == "none"] for table in tables]
    asked = dict.fromkeys(table[0]["measure"] for table in bare)
    heading = ", ".join(asked)
    heading = "Test error" if set(asked) <= {"test error", "test NMSE"} else heading[0].upper() + heading[1:]
    found = [_columns(heading + "\n" + "\n".join(titles), labels, bare, percent)]
    compared = [(label, table) for label, table in zip(labels, bare, strict=True) if "decrease" in table[0]]
    if compared:
        labels, bare = (list(part) for part in zip(*compared, strict=True))
        found.append(_columns("Relative decrease of the test error against no penalty", labels, bare, _decrease))
    return found


def _columns(
    title: str, labels: Sequence[str], tables: Sequence[Sequence[Row]], cell: Callable[[Row], str]
) -> Table:
    """A line for each fraction and a column for each run; fractions that a run lacks are empty."""
    fractions = sorted({round(row["fraction"], 6) for table in tables for row in table})
    found = [{round(row["fraction"], 6): cell(row) for row in table} for table in tables]
    rows = [[f"{fraction:.1%}", *(cells.get(fraction, "") for cells in found)] for fraction in fractions]
    return Table(title, ["poison", *labels], rows)


def caught(found: Sequence[Detection], poison: str, data: str) -> Table:
    """What each defense removes of a data set's rows, and of poison that was added to them."""
    rows = [
        [
            one.defense,
            f"{one.poison_removed} ({100 * one.poison_removed / max(one.poison, 1):.0f} %)",
            f"{one.clean_removed} ({100 * one.clean_removed / one.clean:.1f} %)",
            one.knows,
        ]
        for one in found
    ]
    title = f"{poison} added to {data}: {found[0].poison} to {found[0].clean} rows"
    return Table(title, ["defense", "poison removed", "clean removed", "was told"], rows)


def suspicious(found: WeighedRows, most: int = 20) -> Table:
    """The most suspicious rows of a data set; the score is higher for the more suspicious."""
    removed = int((found.weight == 0).sum())
    lighter = int(((found.weight > 0) & (found.weight < 1)).sum())
    less = f", gives {lighter:,} less weight" if lighter else ""
    title = (
        f"{found.path}: {found.defense} removes {removed:,} of {len(found.y):,} rows{less}; it was told "
        f"{found.knows}\nthe {min(most, len(found.y))} most suspicious rows (--csv prints all)"
    )
    columns = found.columns()
    first = zip(*(column[:most].tolist() for column in columns.values()), strict=True)
    rows = [[f"{value:,.4g}" if isinstance(value, float) else str(value) for value in row] for row in first]
    return Table(title, list(columns), rows)


def flat(row: Row) -> Row:
    """`row` with lists spread over columns: lambda, or lambda_1, lambda_2, ... for layers; class_recall_CLASS."""
    result: Row = {}
    for name, value in row.items():
        if isinstance(value, dict):
            result.update({f"{name}_{of_class}": item for of_class, item in value.items()})
        elif isinstance(value, list) and len(value) > 1:
            result.update({f"{name}_{layer}": item for layer, item in enumerate(value, 1)})
        else:
            result[name] = value[0] if isinstance(value, list) else value
    return result


def percent(row: Row) -> str:
    """The mean of what a table speaks of with its standard error: a share in percent, another as it is."""
    value, error, several = row["value"], row["value_se"], row["repetitions"] > 1
    if value != value:
        return "-"
    if not is_share(row["measure"]):
        return f"{value:.3f}" + (f" ± {error:.3f}" if several else "")
    spread = f" ± {100 * error:.1f}" if several else ""
    draws = (
        f" (orders ± {100 * row['draw_spread']:.1f})"
        if row["measure"] == "test error" and "draw_spread" in row
        else ""
    )
    return f"{100 * value:.1f}{spread} %{draws}"


def share(value: float) -> str:
    """A share in percent; a dash where it is not defined."""
    return "-" if value != value else f"{100 * value:.1f} %"


def _as_it_was(row: Row, step: str) -> Row:
    """The test error of a row before the poison was rounded, or exchanged; for comparison, without its spread."""
    return {"value": row[f"test_error_{step}"], "repetitions": 1}


def _decrease(row: Row) -> str:
    error = f" ± {100 * row['decrease_se']:.0f}" if row["repetitions"] > 1 else ""
    return "-" if row["decrease"] != row["decrease"] else f"{100 * row['decrease']:.0f}{error} %"


def _listed(values: Sequence[float], form: str) -> str:
    return ", ".join(format(value, form) for value in values)
