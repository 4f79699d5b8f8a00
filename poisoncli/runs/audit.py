"""Defenses on a user's own rows, without any attack: which are suspicious, and why."""

from __future__ import annotations

import dataclasses
import io
import logging
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
import scipy.sparse as sp

from poisoncli.core.data import Data, Dataset
from poisoncli.core.defense import Clues, Learner
from poisoncli.core.errors import FailedError, PoisonError
from poisoncli.core.losses import ROW_LOSS
from poisoncli.core.victim import Objective
from poisoncli.runs import defaults, description, run_file
from poisoncli.runs.description import Choice, Run
from poisoncli.runs.prepare import nonzero
from poisoncli.training.settle import settle
from poisoncli.training.trainers import Momentum

LOG = logging.getLogger(__name__)
SPARSE_LAMBDA = 0.01  # of the learner on sparse rows, which needs a penalty
IN_TARGET_UNITS = ("mean", "std", "residual", "correction")


@dataclasses.dataclass(frozen=True)
class Audited:
    """What a defense makes of the n rows of a data set.

    defense, knows: its name, and what it was told; path: of the user's file, or the data set's name.
    x [n, m], y [n]: the rows in their own units; weight, score [n]; why: further columns [n], in the units of
    the target where they are targets.
    row [n]: the number of each in the user's file or in the data set, counted as `counted` says.
    class_names: what the user calls the classes 0, 1, ... of y; empty where the targets are real.
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

    def columns(self) -> dict[str, np.ndarray]:
        """The result as columns [n], most suspicious rows first."""
        order = np.argsort(-self.score, kind="stable")
        names = np.array(self.class_names, dtype=object)
        target = names[np.asarray(self.y, int)] if len(names) else self.y
        every = {"row": self.row, "target": target, "weight": self.weight, "score": self.score}
        return {name: np.asarray(column)[order] for name, column in {**every, **self.why}.items()}


def audit(
    dataset: Choice,
    defense: Choice | str,
    *,
    trusted: str = "",
    lambda_: float | None = None,
    seed: int = 0,
    data_dir: str | None = None,
) -> Audited:
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
    rows, shift, scale = _scaled(data, data)
    known = _trusted(run, trusted, data, data_dir)
    learner = _learner(data, rows, lambda_)
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
    return Audited(
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
    )


def _class_names(run: Run, data: Dataset) -> tuple[str, ...]:
    chosen = run.dataset.options.get("classes", ()) or defaults.dataset(run.dataset.name).class_names
    return () if data.task == "real" else data.class_names or tuple(map(str, chosen))


def load(dataset: Choice, data_dir: str | None = None) -> Dataset:
    """The rows of a data set, or of a file."""
    return description.build(description.resolve(Run(dataset=dataset)).dataset, "dataset").load(data_dir)


def _scaled(data: Dataset, by: Dataset) -> tuple[Data, float, float]:
    """`data` scaled by the rows of `by`, and shift and scale of the targets."""
    if sp.issparse(data.x):  # counts stay what they are
        return Data(data.x, np.asarray(data.y, np.float32), np.ones(len(data.y), np.float32)), 0.0, 1.0
    x = np.asarray(by.x, float)
    real = by.task == "real"
    width = nonzero(x.std(0), np.abs(x).max(0))
    shift, scale = (float(np.mean(by.y, dtype=float)), float(np.std(by.y, dtype=float))) if real else (0.0, 1.0)
    inputs = ((data.x - x.mean(0)) / width).astype(np.float32)
    targets = ((np.asarray(data.y, float) - shift) / scale).astype(np.float32)
    return Data(inputs, targets, np.ones(len(targets), np.float32)), shift, scale


def _trusted(run: Run, path: str, data: Dataset, data_dir: str | None) -> Data:
    """The trusted rows, scaled as `data` is; none without a file."""
    if not path:
        return Data(*(np.zeros(shape, np.float32) for shape in ((0, data.x.shape[1]), 0, 0)))
    options = {name: value for name, value in run.dataset.options.items() if name in ("target", "classes")}
    choice = description.resolve(Run(dataset=Choice("file", {**options, "path": path}))).dataset
    found = description.build(choice, "dataset").load(data_dir)
    if found.x.shape[1] != data.x.shape[1] or found.task != data.task:
        raise PoisonError(f"{path} has other columns than the data: give trusted rows of the same form")
    return _scaled(found, data)[0]


def _learner(data: Dataset, rows: Data, lambda_: float | None) -> Learner:
    """Linear or logistic regression, trained until its loss on these rows has settled; an svm for sparse rows."""
    if lambda_ is not None and not (lambda_ >= 0 and math.isfinite(lambda_)):
        raise PoisonError(f"--lambda {lambda_} is not a coefficient: give a number of at least 0")
    value = lambda_ or 0.0
    if sp.issparse(data.x):
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
    found = settle(jax.random.key(0), objective, Momentum(rate=0.0, epochs=0), rows, log_lambda)
    return Learner(objective, found.trainer, log_lambda, data.task, value if value else math.nan)


def write_kept(found: Audited, out: str | Path) -> Path:
    """Write the rows that the defense keeps: a CSV file's own lines to .csv, otherwise x, y, row to .npz.

    Rows of classes that were not chosen are not judged, and not written. Raises `PoisonError` for another format.
    """
    path, source = Path(out), Path(found.path).expanduser()
    kept = found.weight > 0
    buffer = io.BytesIO()
    if path.suffix == ".npz":
        np.savez_compressed(buffer, x=found.x[kept], y=found.y[kept], row=found.row[kept])
        run_file.replace(path, buffer.getvalue())
        return path
    if path.suffix != ".csv":
        raise PoisonError(f"{path} has no format that can be written: end its name in .csv or .npz")
    import pandas as pd

    if source.suffix.lower() == ".csv":
        frame: Any = pd.read_csv(source, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        frame = frame.iloc[found.row - 1]
    else:
        frame = pd.DataFrame(found.x, columns=[f"x{i}" for i in range(found.x.shape[1])]).assign(
            y=found.y, row=found.row
        )
    run_file.replace(path, frame[kept].to_csv(index=False).encode())
    return path
