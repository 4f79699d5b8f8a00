"""The stages of a run: attack and evaluate; they wire names to methods, own the keys, files and progress."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli import config, store
from poisoncli.config import Run
from poisoncli.core.losses import ROW_LOSS
from poisoncli.core.metrics import train_and_score
from poisoncli.core.split import default_sizes, draw
from poisoncli.core.train import SGD, Objective
from poisoncli.core.types import Data, Dataset, FailedError, Poison, PoisonError, Problem, Split, Threat
from poisoncli.store import Evaluation, RunFile

Report = Callable[[int, int, str], None]  # steps done, steps in all, what is being done
CHECKPOINT_SECONDS = 20.0  # between two checkpoints within a batch
_ATTACK, _VICTIM = 1, 2  # what a key is folded with, for each stage


class Prepared(NamedTuple):
    """A resolved run with its data: the scaled split, the rows it was drawn from, and the attacker's domain."""

    run: Run
    split: Split
    rows: dict[str, np.ndarray]
    shift: np.ndarray
    scale: np.ndarray
    low: np.ndarray
    high: np.ndarray
    sha256: str
    objective: Objective
    trainer: SGD


def attack(
    run: Run,
    out: str | Path = "run.h5",
    *,
    data_dir: str | None = None,
    force: bool = False,
    resume: bool = False,
    report: Report = lambda done, total, what: None,
) -> Path:
    """Craft poison and write a run file to `out`.

    force: replace an existing file. resume: go on from the checkpoint `out`.partial, if there is one; the
    result is the same to the bit as without the interruption.
    report: called with the steps done, the steps in all, and what is being done.

    Returns the path. Raises `PoisonError` for a wrong request and `FailedError` if the attack diverges or the
    disk is full; an interruption leaves the checkpoint.
    """
    path = Path(out)
    partial = path.with_name(path.name + ".partial")
    run = config.resolve(run)
    _check_place(path, partial, force, resume)
    prepared = prepare(run, data_dir)
    fresh = RunFile(
        run=config.to_json(prepared.run),
        sha256=prepared.sha256,
        split=prepared.rows,
        shift=prepared.shift,
        scale=prepared.scale,
        poison=None,  # type: ignore[arg-type]
    )
    if resume and path.exists():
        _same_run(store.read(path), fresh, path)
        return path
    begun = None
    if resume and partial.exists():
        content = store.read(partial)
        _same_run(content, fresh, partial)
        begun = content.poison
    _craft(prepared, fresh, begun, path, partial, report)
    return path


def _check_place(path: Path, partial: Path, force: bool, resume: bool) -> None:
    """Raise `PoisonError` where the file cannot be written, or something would be lost."""
    if force and resume:
        raise PoisonError("--force and --resume contradict each other: give one of them")
    if not path.parent.is_dir():
        raise PoisonError(f"the folder {path.parent} does not exist: create it, or choose another --out")
    if path.is_dir():
        raise PoisonError(f"{path} is a folder: name a file with --out")
    if not os.access(path.parent, os.W_OK):
        raise PoisonError(f"the folder {path.parent} cannot be written to: choose another --out")
    for place in (path, partial):
        if place.exists() and not (force or resume):
            raise PoisonError(f"{place} exists: --force replaces it, --resume goes on from it, --out names another")


def _same_run(found: RunFile, wanted: RunFile, path: Path) -> None:
    if found.run != wanted.run or found.sha256 != wanted.sha256:
        raise PoisonError(
            f"{path} belongs to a run with other options or data: repeat its options, or start anew with --force"
        )


def _craft(
    prepared: Prepared, fresh: RunFile, begun: Poison | None, path: Path, partial: Path, report: Report
) -> None:
    """Run the attack with checkpoints; leaves the run file, or after an error the last checkpoint."""
    method = config.build(prepared.run.attack, "attack")
    what = f"crafting {prepared.run.attack.name} poison"
    key = jax.random.fold_in(jax.random.key(prepared.run.seed), _ATTACK)
    saved, batch, poison = time.monotonic(), -1, begun
    try:
        for poison in method.craft(key, _problem(prepared), begun):
            report(poison.done, poison.total, what)
            _check_finite(poison)
            stage = poison.done // max(poison.loss.shape[2], 1)
            if stage != batch or time.monotonic() - saved > CHECKPOINT_SECONDS:
                if poison.done < poison.total:
                    store.write(partial, dataclasses.replace(fresh, poison=poison))
                saved, batch = time.monotonic(), stage
    except KeyboardInterrupt:
        if poison is None:
            raise
        store.write(partial, dataclasses.replace(fresh, poison=poison))
        raise FailedError(f"interrupted: the same command with --resume goes on from {partial}") from None
    store.write(path, dataclasses.replace(fresh, poison=poison))
    partial.unlink(missing_ok=True)


def _check_finite(poison: Poison) -> None:
    done = poison.loss[~np.isnan(poison.loss)]
    if not np.all(np.isfinite(poison.x)) or not np.all(np.isfinite(done)):
        raise FailedError(
            "the training diverged (its loss is not finite): try a smaller -o inner_rate, or a smaller lambda"
        )


def prepare(run: Run, data_dir: str | None = None) -> Prepared:
    """Load the data set of a resolved run, draw and scale its splits, and build what the run names."""
    dataset = config.build(run.dataset, "dataset").load(data_dir)
    if dataset.task != "binary":
        raise PoisonError(
            f"{run.dataset.name} has {_kind(dataset)}, and model {run.model.name} separates two classes: pick them "
            "with --classes a,b"
        )
    sizes = _sizes(run, dataset)
    run = dataclasses.replace(run, n_train=sizes[0], n_val=sizes[1], n_test=sizes[2])
    drawn = [
        draw(np.random.default_rng((run.seed, r)), dataset.y, dataset.task, sizes) for r in range(run.repetitions)
    ]
    rows = {
        name: np.stack(part) for name, part in zip(("train", "val", "test"), zip(*drawn, strict=True), strict=True)
    }
    shift, scale = _scaling(run, dataset)
    x = ((dataset.x - shift) / scale).astype(np.float32)
    split = Split(*(_take(x, dataset.y, rows[name]) for name in ("train", "val", "test")))
    model = config.build(run.model, "model")
    return Prepared(
        run=run,
        split=split,
        rows=rows,
        shift=shift,
        scale=scale,
        low=np.asarray((dataset.low - shift) / scale, np.float32),
        high=np.asarray((dataset.high - shift) / scale, np.float32),
        sha256=dataset.sha256,
        objective=Objective(model, ROW_LOSS[dataset.task], run.reg),
        trainer=config.build(run.trainer, "trainer"),
    )


def _kind(dataset: Dataset) -> str:
    return "real targets" if dataset.task == "real" else f"{len(np.unique(dataset.y))} classes"


def _sizes(run: Run, dataset: Dataset) -> tuple[int, int, int]:
    usual = config.DATASETS[run.dataset.name].sizes or default_sizes(dataset.y, dataset.task)
    asked = (run.n_train, run.n_val, run.n_test)
    return tuple(a or u for a, u in zip(asked, usual, strict=True))  # type: ignore[return-value]


def _scaling(run: Run, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Shift and scale of the features: a user's own data are brought to [0, 1] by their range."""
    if run.dataset.name != "file":
        return np.float32(0), np.float32(1)  # type: ignore[return-value]
    width = np.asarray(dataset.high - dataset.low)
    return np.asarray(dataset.low), np.where(width > 0, width, 1).astype(np.float32)


def _take(x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> Data:
    return Data(x[rows], np.asarray(y, np.float32)[rows], np.ones(rows.shape, np.float32))


def _problem(prepared: Prepared) -> Problem:
    run = prepared.run
    layers = 1
    if run.per_layer:
        m = prepared.split.train.x.shape[2]
        layers = len(jax.eval_shape(lambda: prepared.objective.model.init(jax.random.key(0), m)))
    coefficient = (run.lambda_ or 0.0) * run.n_train
    with np.errstate(divide="ignore"):
        log_lambda = np.full(layers, np.log(coefficient), np.float32)
    return Problem(
        train=prepared.split.train,
        target=prepared.split.val,
        objective=prepared.objective,
        trainer=prepared.trainer,
        threat=Threat(_counts(run), prepared.low, prepared.high),
        log_lambda=log_lambda,
        learn=run.learn_lambda,
    )


def _counts(run: Run) -> tuple[int, ...]:
    """Poison rows in all at each stage: batches of one size that together stay within the fraction."""
    points = min(int(run.fraction * run.n_train + 1e-9), run.n_train - 1)  # one clean row at least
    batch = run.attack.options["batch"] or max(1, round(0.07 * run.n_train))
    if points < 1:
        raise PoisonError(
            f"--fraction {run.fraction} of {run.n_train} training rows is less than one row: raise it"
        )
    if batch > run.n_train:
        raise PoisonError(
            f"a batch of {batch} is larger than the {run.n_train} clean training rows: choose a smaller -o batch"
        )
    stages = -(-points // batch)
    size = points // stages
    return tuple(range(0, stages * size + 1, size))


def evaluate(
    path: str | Path,
    *,
    data_dir: str | None = None,
    save: bool = True,
    report: Report = lambda done, total, what: None,
) -> RunFile:
    """Train the victim on the clean and on the poisoned rows of every stage, and score it.

    All trainings of a repetition start from the same parameters (HLP Table V). Returns the run file's content
    with the evaluation `none` (no defense), and writes it there unless `save` is false or it is there already.
    Raises `PoisonError` if the file or its data set cannot be read, and `FailedError` if the victim diverges.
    """
    path = Path(path)
    content = store.read(path)
    if "none" in content.evaluations:
        return content
    prepared = restore(content, data_dir)
    stages = len(content.poison.counts)
    scores = []
    for stage in range(stages):
        report(stage, stages, "training the victim")
        scores.append(_score(prepared, content.poison, stage))
    report(stages, stages, "training the victim")
    stacked: Any = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *scores)
    evaluation = Evaluation(**stacked._asdict())
    if not np.all(np.isfinite(evaluation.val_loss)):
        raise FailedError(
            "the victim's training diverged (its loss is not finite): craft again with a smaller -o trainer.rate"
        )
    content = dataclasses.replace(content, evaluations={**content.evaluations, "none": evaluation})
    if save:
        store.write(path, content)
    return content


def _score(prepared: Prepared, poison: Poison, stage: int) -> Any:
    keys = jax.vmap(
        lambda r: jax.random.fold_in(jax.random.fold_in(jax.random.key(prepared.run.seed), _VICTIM), r)
    )(jnp.arange(prepared.run.repetitions))
    train, _, _ = poisoned(prepared.split.train, poison, stage)
    split, log_lambda = prepared.split, jnp.asarray(poison.log_lambda[:, stage])
    score = train_and_score(keys, prepared.objective, prepared.trainer, train, log_lambda, split.val, split.test)
    return jax.tree.map(np.asarray, score)


def restore(content: RunFile, data_dir: str | None = None) -> Prepared:
    """The data and methods of a run file, with the very rows that it was crafted on."""
    prepared = prepare(config.from_json(content.run), data_dir)
    if prepared.sha256 != content.sha256:
        raise PoisonError(
            f"the data set {prepared.run.dataset.name} has changed since the poison was crafted: "
            "restore it, or craft the poison again"
        )
    return prepared


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
