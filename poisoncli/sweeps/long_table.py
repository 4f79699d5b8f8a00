"""All numbers of a sweep in one long table, a row for each, that pandas reads as it is."""

from __future__ import annotations

import importlib.util
import io
import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from poisoncli.core.errors import PoisonError
from poisoncli.reports import measures, summary
from poisoncli.runs import run_file, serialize
from poisoncli.runs.run_file import RunFile
from poisoncli.sweeps import naming
from poisoncli.sweeps.grid import Cell, flat
from poisoncli.sweeps.plan import PLAN, Sweep, load, run_path
from poisoncli.tables.atomic import replace

if TYPE_CHECKING:
    from pandas import DataFrame

CSV, PARQUET = "sweep.csv", "sweep.parquet"
_OTHERWISE = {"fraction": "largest_fraction"}  # options whose names a column of the table has


def table(folder: str | Path) -> DataFrame:
    """A row for each number of the sweep in a folder, of the cells that are evaluated.

    Columns: cell, panel, line and defender (empty where the sweep has none); every option of the cell's run, by
    the names of `--grid`, `largest_fraction` being the option `fraction`; fraction (of the training rows) and
    poison (rows) of a stage, repetition, defense (`none` without one), victim (the model, or one from outside by
    its name), metric and value: what `poison evaluate --json` tells, for each repetition.
    Raises `PoisonError` where no cell is evaluated.
    """
    import pandas

    root = Path(folder)
    if not (root / PLAN).is_file():
        raise PoisonError(f"{folder} holds no sweep: fill it with `poison sweep --preset NAME --out {folder}`")
    sweep = naming.indexed(load(root / PLAN, crafted=True), root)
    about, found, owner = [], [], []
    for cell, defender, content in _evaluated(sweep, root):
        frame = _numbers(content)
        owner.append(np.full(len(frame), len(about)))
        about.append(_about(cell, defender, content))
        found.append(frame)
    if not found:
        raise PoisonError(f"no run of {folder} is finished: repeat `poison sweep` until one is")
    cells = pandas.DataFrame(about)
    nowhere = cells.columns[cells.isna().all()]
    cells[nowhere] = cells[nowhere].astype(float)  # such as lambda without a penalty
    texts = cells.select_dtypes(include=["object", "string"]).columns
    for name in texts:
        cells[name] = cells[name].map(lambda value: "" if value is None or value != value else str(value))
    cells[texts] = cells[texts].astype("category")  # each text once: tables of millions of rows stay small
    wide = cells.iloc[np.concatenate(owner)].reset_index(drop=True)
    numbers = pandas.concat(found, ignore_index=True)
    numbers = numbers.astype(dict.fromkeys(("defense", "victim", "metric"), "category"))
    return pandas.concat([wide, numbers], axis=1)


def write(frame: DataFrame, path: Path) -> Path:
    """Write the table to a file that ends in .csv or .parquet. Raises `PoisonError` for another."""
    if path.suffix.lower() == ".csv":
        replace(path, frame.to_csv(index=False).encode())
    elif path.suffix.lower() != ".parquet":
        raise PoisonError(f"{path} has no format of a table: end its name in .csv or .parquet")
    elif importlib.util.find_spec("pyarrow") is None:
        raise PoisonError(
            f"{path} cannot be written without pyarrow: pip install 'poisoncli[parquet]', or use .csv"
        )
    else:
        image = io.BytesIO()
        frame.to_parquet(image, index=False)
        replace(path, image.getvalue())
    return path


def keep(folder: Path) -> list[Path]:
    """Write the table into a sweep's folder, as CSV and, where pyarrow is at hand, as Parquet.

    Raises `PoisonError` where no cell is evaluated.
    """
    frame = table(folder)
    names = [CSV, *([PARQUET] if importlib.util.find_spec("pyarrow") else [])]
    return [write(frame, folder / name) for name in names]


def _evaluated(sweep: Sweep, folder: Path) -> Iterator[tuple[Cell, str, RunFile]]:
    """The cells that are evaluated, before each defender."""
    for cell in sweep.cells:
        for defender in sweep.defenders or [""]:
            path = run_path(cell, folder, defender)
            try:
                content = run_file.read(path) if path.exists() else None
            except PoisonError as error:
                warnings.warn(f"{error}; the table goes without it", stacklevel=2)
                continue
            if content is not None and "none" in content.evaluations:
                yield cell, defender, content


def _about(cell: Cell, defender: str, content: RunFile) -> dict[str, Any]:
    """What all rows of a cell share: its place in the sweep, and the options of its run."""
    options = flat(json.loads(serialize.to_json(serialize.from_json(content.run))))
    named = {"cell": cell.name, "panel": cell.panel, "line": cell.line, "defender": defender}
    for name, value in options.items():
        column = name.removesuffix(".name")
        named[_OTHERWISE.get(column, column)] = ",".join(map(str, value)) if isinstance(value, list) else value
    return named


def _numbers(content: RunFile) -> DataFrame:
    """The numbers of a run file: a row for each defense, victim, metric, stage and repetition; NaN is left out."""
    import pandas

    run, counts = serialize.from_json(content.run), content.poison.counts
    parts = []
    for defense, victim, metric, values in _measured(content, run.model.name):
        repetition, stage = np.indices(values.shape).reshape(2, -1)
        parts.append(
            pandas.DataFrame(
                {
                    "fraction": counts[stage] / run.n_train,
                    "poison": counts[stage],
                    "repetition": repetition,
                    "defense": defense,
                    "victim": victim,
                    "metric": metric,
                    "value": values.ravel().astype(float),
                }
            )
        )
    return pandas.concat(parts, ignore_index=True).dropna(subset=["value"])


def _measured(content: RunFile, model: str) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """Defense, victim, metric, and its values [repetitions, stages]."""
    error = "nmse" if content.real else "error"
    for defense, known in content.evaluations.items():
        own = {
            f"test_{error}": known.test_error,
            f"val_{error}": known.val_error,
            "test_loss": known.test_loss,
            "val_loss": known.val_loss,
            "norm": np.average(known.norm, axis=2, weights=measures.sizes(content)),
            "target_rate": known.target_rate,
            "draw_spread": known.draw_spread,
            **_spread(known.metrics, content),
        }
        for metric, values in own.items():
            if values.size:
                yield defense, model, metric, values
        if defense in content.defenses:
            for metric, values in summary.removals(content, defense).items():
                yield defense, model, metric, values
    layers = content.poison.log_lambda.shape[2]
    for layer in range(layers):
        values = np.where(np.isfinite(content.poison.log_lambda), content.poison.log_lambda, np.nan)[:, :, layer]
        yield "none", model, "log_lambda" if layers == 1 else f"log_lambda:{layer + 1}", values
    for victim in content.victims:
        for defense, found in victim.measures.items():
            for metric, values in _spread(found, content).items():
                yield defense, victim.name, f"test_{metric}" if metric == error else metric, values


def _spread(found: Mapping[str, np.ndarray], content: RunFile) -> dict[str, np.ndarray]:
    """Measures by name, recall by class."""
    result = {name: values for name, values in found.items() if name != "recall"}
    if "recall" in found:
        each = zip(content.classes, np.moveaxis(found["recall"], 2, 0), strict=True)
        result.update({f"recall:{name}": values for name, values in each})
    return result
