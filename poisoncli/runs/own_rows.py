"""Defenses on a user's own rows, without any attack: which are suspicious, and why."""

from __future__ import annotations

import dataclasses
import logging
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

from poisoncli.core.data import Data, Dataset
from poisoncli.core.declared import OfDefense
from poisoncli.core.declared import read as read_declared
from poisoncli.core.defense import Clues, Learner
from poisoncli.core.errors import FailedError, PoisonError
from poisoncli.core.losses import ROW_LOSS
from poisoncli.core.victim import Objective
from poisoncli.runs import defaults, description, run_file
from poisoncli.runs.description import Choice, Run
from poisoncli.runs.scaling import nonzero
from poisoncli.tables import read
from poisoncli.tables.csv_file import read_csv
from poisoncli.tables.encode import Encoder, scaled
from poisoncli.tables.write import FORMATS, encoded
from poisoncli.training.settle import settle
from poisoncli.training.trainers import Momentum

LOG = logging.getLogger(__name__)
SPARSE_LAMBDA = 0.01  # of the learner on sparse rows, which needs a penalty
_SHARED = ("target", "classes", "task", "column", "ignore")  # what is said of a file, that holds of another too
IN_TARGET_UNITS = ("mean", "std", "residual", "correction")


@dataclasses.dataclass(frozen=True)
class WeighedRows:
    """What a defense makes of the n rows of a data set.

    defense, knows: its name, and what it was told; path: of the user's file, or the data set's name.
    x [n, m], y [n]: the rows in their own units; weight, score [n]; why: further columns [n], in the units of
    the target where they are targets.
    row [n]: the number of each in the user's file or in the data set, counted as `counted` says.
    class_names: what the user calls the classes 0, 1, ... of y; empty where the targets are real.
    encoder: of a user's table, which holds the rows [n] as they stand there; x is then None.
    """

    defense: str
    knows: str
    path: str
    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    score: np.ndarray
    why: dict[str, np.ndarray]
    row: np.ndarray
    counted: str
    class_names: tuple[str, ...] = ()
    encoder: Encoder | None = None

    def columns(self) -> dict[str, np.ndarray]:
        """The result as columns [n], most suspicious rows first."""
        order = np.argsort(-self.score, kind="stable")
        names = np.array(self.class_names, dtype=object)
        target = names[np.asarray(self.y, int)] if len(names) else self.y
        every = {"row": self.row, "target": target, "weight": self.weight, "score": self.score}
        return {name: np.asarray(column)[order] for name, column in {**every, **self.why}.items()}


def weigh_rows(
    dataset: Choice,
    defense: Choice | str,
    *,
    trusted: str = "",
    lambda_: float | None = None,
    seed: int = 0,
    data_dir: str | None = None,
) -> WeighedRows:
    """Let a defense weigh all rows of a data set; the learner is linear or logistic regression.

    dataset: a data set, or a file as `Choice("file", {"path": ..., "target": ...})`. trusted: a file of clean
    rows of the same form. lambda_: coefficient of the learner's l2 penalty in the mean loss, None for no penalty.
    Features, and real targets, are standardized by all rows, since nobody knows the clean ones.
    Raises `PoisonError` for a wrong request, `FailedError` if the learner diverges or every row is removed.
    """
    run = description.resolve(Run(dataset=dataset))
    data = load(dataset, data_dir)
    if data.task == "multiclass":
        raise PoisonError("the data have more than two classes: pick two with --classes a,b")
    if data.task == "real" and np.ptp(data.y) == 0:
        raise PoisonError("the targets are all the same: name a target that varies with --target")
    choice = description.resolve_defense(Choice(defense) if isinstance(defense, str) else defense)
    method = description.build(choice, "defense")
    encoder = Encoder.fit(data.table, np.arange(len(data.y))[None]) if data.table is not None else None
    rows, shift, scale = _scaled(data, data, encoder)
    known = _trusted(run, trusted, data, encoder, data_dir)
    learner = _learner(data, rows, lambda_, read_declared(OfDefense, type(method)).trains)
    if defaults.wants_penalty(choice.name) and learner.objective.reg == "none":
        LOG.info(
            "the learner has no penalty, so it can fit rows that share a column of their own exactly, and %s does "
            "not see them: try --lambda too, such as 1",
            choice.name,
        )
    verdict = method.weigh(jax.random.key(seed), rows, learner, Clues(known, float("nan")))
    if not np.any(verdict.weight > 0):
        raise FailedError(f"defense {choice.name} removes every row: choose milder options with -o")
    if not np.all(np.isfinite(verdict.score)):
        raise FailedError("the learner diverged on these rows: remove columns or rows with extreme values")
    why = {
        name: column * scale + (shift if name == "mean" else 0) if name in IN_TARGET_UNITS else column
        for name, column in verdict.why.items()
    }
    path = str(run.dataset.options.get("path", run.dataset.name))
    return WeighedRows(
        defense=choice.name,
        knows=method.knows(),
        path=path,
        x=data.x,
        y=data.y,
        weight=verdict.weight,
        score=verdict.score,
        why=why,
        row=data.row_numbers,
        counted=data.counted,
        class_names=_class_names(run, data),
        encoder=encoder,
    )


def _class_names(run: Run, data: Dataset) -> tuple[str, ...]:
    chosen = run.dataset.options.get("classes", ()) or defaults.dataset(run.dataset.name).class_names
    return () if data.task == "real" else data.class_names or tuple(map(str, chosen))


def load(dataset: Choice, data_dir: str | None = None) -> Dataset:
    """The rows of a data set, or of a file."""
    return description.build(description.resolve(Run(dataset=dataset)).dataset, "dataset").load(data_dir)


def _scaled(data: Dataset, by: Dataset, encoder: Encoder | None) -> tuple[Data, float, float]:
    """`data` encoded and scaled by the rows of `by`, and shift and scale of the targets."""
    real = by.task == "real"
    shift, scale = (float(np.mean(by.y, dtype=float)), float(np.std(by.y, dtype=float))) if real else (0.0, 1.0)
    targets = ((np.asarray(data.y, float) - shift) / scale).astype(np.float32)
    every = np.arange(len(targets))
    if encoder is not None:
        widths = encoder.scaler(np.arange(len(by.y))[None])
        own = dataclasses.replace(encoder, table=encoder.table.like(data.table.frame))
        inputs = scaled(own.take(every, 0), widths["shift"][0], widths["scale"][0])
    elif data.sparse:  # counts stay what they are
        inputs = data.x
    else:
        x = np.asarray(by.x, float)
        inputs = ((data.x - x.mean(0)) / nonzero(x.std(0), np.abs(x).max(0))).astype(np.float32)
    return Data(inputs, targets, np.ones(len(targets), np.float32)), shift, scale


def _trusted(run: Run, path: str, data: Dataset, encoder: Encoder | None, data_dir: str | None) -> Data:
    """The trusted rows, encoded and scaled as `data` is; none without a file."""
    m = encoder.m if encoder is not None else data.x.shape[1]
    if not path:
        return Data(*(np.zeros(shape, np.float32) for shape in ((0, m), 0, 0)))
    options = {name: value for name, value in run.dataset.options.items() if name in _SHARED}
    choice = description.resolve(Run(dataset=Choice("file", {**options, "path": path}))).dataset
    found = description.build(choice, "dataset").load(data_dir)
    same = (
        found.table is not None and {one.name for one in encoder.table.columns} <= set(found.table.frame.columns)
        if encoder is not None
        else found.x is not None and found.x.shape[1] == m
    )
    if not same or found.task != data.task:
        raise PoisonError(f"{path} has other columns than the data: give trusted rows of the same form")
    return _scaled(found, data, encoder)[0]


def _learner(data: Dataset, rows: Data, lambda_: float | None, trains: bool) -> Learner:
    """Linear or logistic regression, trained until its loss on these rows has settled; an svm for sparse rows.

    trains: whether the defense trains it; otherwise its rate is not looked for.
    """
    if lambda_ is not None and not (lambda_ >= 0 and math.isfinite(lambda_)):
        raise PoisonError(f"--lambda {lambda_} is not a coefficient: give a number of at least 0")
    value = lambda_ or 0.0
    if data.sparse:
        value = value or SPARSE_LAMBDA
        LOG.info("the learner is a linear svm with --lambda %g", value)
        objective = Objective(
            description.build(Choice("svm"), "model"), ROW_LOSS[data.task], "l2", float(len(rows.y))
        )
        return Learner(
            objective,
            description.build(Choice("sgd"), "trainer"),
            np.full(1, np.log(value * len(rows.y)), np.float32),
            data.task,
            value,
        )
    model = description.build(Choice("linear" if data.task == "real" else "logistic"), "model")
    objective = Objective(model, ROW_LOSS[data.task], "l2" if value else "none", float(len(rows.y)))
    log_lambda = np.full(1, np.log(value * len(rows.y)) if value else -np.inf, np.float32)
    trainer: Any = Momentum(rate=0.01)
    if trains:
        trainer = settle(jax.random.key(0), objective, Momentum(rate=0.0, epochs=0), rows, log_lambda).trainer
    return Learner(objective, trainer, log_lambda, data.task, value if value else math.nan)


def write_kept(found: WeighedRows, out: str | Path) -> Path:
    """Write the rows that the defense keeps: a CSV file's own lines to .csv, else the columns; x, y, row to .npz.

    Rows of classes that were not chosen are not judged, and not written. Raises `PoisonError` for another format.
    """
    import pandas

    path, source = Path(out), Path(found.path).expanduser()
    if path.suffix not in FORMATS:
        raise PoisonError(f"{path} has no format that can be written: end its name in {', '.join(FORMATS)}")
    kept, x = found.weight > 0, None
    if path.suffix == ".csv" and read.kind_of(source) in (".csv", ".tsv"):
        frame: Any = read_csv(source, as_text=True).iloc[found.row[kept] - 1]
    elif found.encoder is not None and path.suffix != ".npz":
        frame = found.encoder.table.frame[kept].assign(row=found.row[kept])
    else:
        frame = pandas.DataFrame({"y": found.y[kept], "row": found.row[kept]})
        x = found.x[kept] if found.encoder is None else found.encoder.take(np.flatnonzero(kept), 0)
    run_file.replace(path, encoded(frame, path.suffix, x))
    return path
