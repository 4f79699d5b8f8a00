"""A run's data: loaded, split, scaled, with the poison in its place; and what the attacker sees of them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import numpy as np

from poisoncli import config
from poisoncli.config import Run
from poisoncli.core.crossval import best_log_lambda
from poisoncli.core.losses import ROW_LOSS
from poisoncli.core.split import default_sizes, draw
from poisoncli.core.train import Objective, Trainer
from poisoncli.core.types import Data, Dataset, Learner, Poison, PoisonError, Problem, Split, Task, Threat
from poisoncli.store import RunFile

_FOLDS = 3  # what the seed's key is folded with; `run` has the others


class Prepared(NamedTuple):
    """A resolved run with its data: the scaled split, the rows it was drawn from, and the attacker's domain.

    shift, scale, low, high: of the features, scalars, [m], or [repetitions, m] with real targets.
    y_shift, y_scale, y_low, y_high: of the targets, scalars or [repetitions].
    """

    run: Run
    split: Split
    rows: dict[str, np.ndarray]
    shift: np.ndarray
    scale: np.ndarray
    low: np.ndarray
    high: np.ndarray
    y_shift: np.ndarray
    y_scale: np.ndarray
    y_low: np.ndarray
    y_high: np.ndarray
    sha256: str
    task: Task
    objective: Objective
    trainer: Trainer

    def learner(self, log_lambda: Any) -> Learner:
        """The victim with log_lambda [h]."""
        return Learner(self.objective, self.trainer, log_lambda, self.task)


def prepare(run: Run, data_dir: str | None = None) -> Prepared:
    """Load the data set of a resolved run, draw and scale its splits, and build what the run names."""
    dataset = _load(run, data_dir)
    sizes = _sizes(run, dataset)
    run = dataclasses.replace(run, n_train=sizes[0], n_val=sizes[1], n_test=sizes[2])
    drawn = [
        draw(np.random.default_rng((run.seed, r)), dataset.y, dataset.task, sizes) for r in range(run.repetitions)
    ]
    parts = zip(("train", "val", "test"), zip(*drawn, strict=True), strict=True)
    return _assemble(run, dataset, {name: np.stack(part) for name, part in parts})


def _load(run: Run, data_dir: str | None) -> Dataset:
    """The data set of a resolved run. Raises `PoisonError` if the model cannot learn it."""
    dataset = config.build(run.dataset, "dataset").load(data_dir)
    _check_task(run, dataset)
    return dataset


def _assemble(run: Run, dataset: Dataset, rows: dict[str, np.ndarray]) -> Prepared:
    """The chosen rows [repetitions, n] of a data set, scaled, and what the run names."""
    scaler = _scaler(run, dataset, rows["train"])
    split = Split(*(_take(dataset, rows[name], scaler) for name in ("train", "val", "test")))
    model = config.build(run.model, "model")
    return Prepared(
        run=run,
        split=split,
        rows=rows,
        low=np.asarray((dataset.low - scaler["shift"]) / scaler["scale"], np.float32),
        high=np.asarray((dataset.high - scaler["shift"]) / scaler["scale"], np.float32),
        y_low=np.asarray(split.train.y).min(1) if dataset.task == "real" else np.zeros(()),
        y_high=np.asarray(split.train.y).max(1) if dataset.task == "real" else np.ones(()),
        **scaler,
        sha256=dataset.sha256,
        task=dataset.task,
        objective=Objective(model, ROW_LOSS[dataset.task], run.reg),
        trainer=config.build(run.trainer, "trainer"),
    )


def _sizes(run: Run, dataset: Dataset) -> tuple[int, int, int]:
    usual = config.DATASETS[run.dataset.name].sizes or default_sizes(dataset.y, dataset.task)
    asked = (run.n_train, run.n_val, run.n_test)
    return tuple(a or u for a, u in zip(asked, usual, strict=True))  # type: ignore[return-value]


def _check_task(run: Run, dataset: Dataset) -> None:
    """Raise `PoisonError` unless model and attack fit the targets."""
    name, real = run.dataset.name, dataset.task == "real"
    if real and (run.model.name not in config.REAL_MODELS or run.attack.name not in config.REAL_ATTACKS):
        raise PoisonError(
            f"{name} has real targets: add --model {' or '.join(config.REAL_MODELS)} and "
            f"--method {' or '.join(config.REAL_ATTACKS)}, or pick two values with --classes a,b"
        )
    if dataset.task == "multiclass":
        count = len(np.unique(dataset.y))
        raise PoisonError(
            f"{name} has {count} classes, and model {run.model.name} separates two classes: pick them with "
            "--classes a,b"
        )
    if not real and (run.model.name == "linear" or run.attack.name in ("stealthy", "statp")):
        raise PoisonError(f"{name} has two classes: model linear, attacks stealthy and statp are for real targets")


def _scaler(run: Run, dataset: Dataset, train: np.ndarray) -> dict[str, np.ndarray]:
    """Shift and scale of features and targets, in the data set's units.

    With real targets both are standardized by the clean training rows `train` [repetitions, n] (SPR
    Appendix E); a user's own data for classification are brought to [0, 1] by their range. What is constant
    is divided by 1.
    """
    scaler: dict[str, Any] = {"shift": 0, "scale": 1, "y_shift": 0, "y_scale": 1}
    if dataset.task == "real":
        x, y = dataset.x[train].astype(float), dataset.y[train].astype(float)
        if np.any(y.max(1) == y.min(1)):
            raise PoisonError(
                f"the training targets of {run.dataset.name} are all the same: ask for more --n-train"
            )
        scaler = {"shift": x.mean(1), "scale": _nonzero(x.std(1)), "y_shift": y.mean(1), "y_scale": y.std(1)}
    elif run.dataset.name == "file":
        scaler.update(shift=np.asarray(dataset.low), scale=_nonzero(dataset.high - dataset.low))
    return {name: np.asarray(value, np.float32) for name, value in scaler.items()}


def _nonzero(scale: Any) -> np.ndarray:
    """`scale` with 1 where it is 0, or nothing but the rounding of a constant column."""
    return np.where(scale > 1e-7, scale, 1)


def _take(dataset: Dataset, rows: np.ndarray, scaler: dict[str, np.ndarray]) -> Data:
    """The rows [repetitions, n] of a data set, scaled."""
    shift, scale = (np.asarray(scaler[name]) for name in ("shift", "scale"))
    if shift.ndim == 2:
        shift, scale = shift[:, None], scale[:, None]
    x = ((dataset.x[rows] - shift) / scale).astype(np.float32)
    y = (np.asarray(dataset.y, np.float32)[rows].T - scaler["y_shift"]) / scaler["y_scale"]
    return Data(x, np.ascontiguousarray(y.T, np.float32), np.ones(rows.shape, np.float32))


def problem(prepared: Prepared) -> Problem:
    """What the attacker sees."""
    run = prepared.run
    layers = 1
    if run.per_layer:
        m = prepared.split.train.x.shape[2]
        layers = len(jax.eval_shape(lambda: prepared.objective.model.init(jax.random.key(0), m)))
    return Problem(
        train=prepared.split.train,
        target=prepared.split.val,
        objective=prepared.objective,
        trainer=prepared.trainer,
        threat=Threat(_counts(run), prepared.low, prepared.high, prepared.y_low, prepared.y_high),
        log_lambda=np.repeat(_fixed(prepared)[:, None], layers, axis=1),
        learn=np.array([run.learn_lambda]),
        task=prepared.task,
    )


def _fixed(prepared: Prepared) -> np.ndarray:
    """The fixed log_lambda of each repetition; -inf for no penalty."""
    run, train = prepared.run, prepared.split.train
    if not run.clean_lambda:
        with np.errstate(divide="ignore"):
            return np.full(run.repetitions, np.log((run.lambda_ or 0.0) * run.n_train), np.float32)
    key = jax.random.fold_in(jax.random.key(run.seed), _FOLDS)
    found = [
        best_log_lambda(
            jax.random.fold_in(key, r), prepared.objective, prepared.trainer, Data(*(a[r] for a in train))
        )
        for r in range(run.repetitions)
    ]
    return np.array(found, np.float32)


def _counts(run: Run) -> tuple[int, ...]:
    """Poison rows in all at each stage: batches of one size that together stay within the fraction."""
    exact = min((run.fraction or 0) * run.n_train, run.n_train - 1)  # one clean row at least
    share = 0.075 if run.dataset.name in config.REAL else 0.07
    batch = run.attack.options["batch"] or max(1, round(share * run.n_train))
    if exact < 1 - 1e-9:
        raise PoisonError(
            f"--fraction {run.fraction} of {run.n_train} training rows is less than one row: raise it"
        )
    if batch > run.n_train:
        raise PoisonError(
            f"a batch of {batch} is larger than the {run.n_train} clean training rows: choose a smaller -o batch"
        )
    stages = max(1, math.ceil(exact / batch - 0.01))
    size = round(exact / stages)
    if stages * size > min(exact + 0.5, run.n_train - 1):  # half a row too much is rounding
        size = int((exact + 1e-9) / stages)
    return tuple(range(0, stages * size + 1, size))


def restore(content: RunFile, data_dir: str | None = None) -> Prepared:
    """The data and methods of a run file, with the very rows that it was crafted on."""
    poison, run = content.poison, config.from_json(content.run)
    if poison.done < poison.total:
        raise PoisonError("the poison is not complete: finish it with `poison attack --resume` first")
    dataset = _load(run, data_dir)
    if dataset.sha256 != content.sha256:
        raise PoisonError(
            f"the data set {run.dataset.name} has changed since the poison was crafted: "
            "restore it, or craft the poison again"
        )
    sizes = [(run.repetitions, n) for n in (run.n_train, run.n_val, run.n_test)]
    if (
        [content.split[name].shape for name in ("train", "val", "test")] != sizes
        or any(rows.min() < 0 or rows.max() >= len(dataset.y) for rows in content.split.values())
        or poison.x.shape[2] != dataset.x.shape[1]
    ):
        raise PoisonError("the run file is damaged, its rows are not those of its run: craft the poison again")
    return _assemble(run, dataset, content.split)


def poisoned(train: Data, poison: Poison, stage: int) -> tuple[Data, np.ndarray, np.ndarray]:
    """The training rows of a stage: data, which rows are poison [repetitions, n], and where each came from.

    The last array holds for a poison row its number among the poison rows, and -1 for a clean one.
    """
    count = int(poison.counts[stage])
    index = poison.replaced[:, :count]
    x, y = np.array(train.x), np.array(train.y)
    number = np.full(y.shape, -1)
    np.put_along_axis(x, index[:, :, None], poison.x[:, :count], axis=1)
    np.put_along_axis(y, index, poison.y[:, :count], axis=1)
    np.put_along_axis(number, index, np.broadcast_to(np.arange(count), index.shape), axis=1)
    return Data(x, y, train.weight), number >= 0, number
