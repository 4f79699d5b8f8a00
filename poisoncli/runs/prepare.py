"""A run's data: loaded, split, scaled, with the poison in its place; and what the attacker sees of them."""

from __future__ import annotations

import dataclasses
import logging
import math
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.sparse as sp

from poisoncli.core import own_split
from poisoncli.core.attack import Poison
from poisoncli.core.data import Data, Dataset, Sparse, Split, Task
from poisoncli.core.declared import OfAttack, OfModel
from poisoncli.core.defense import Learner
from poisoncli.core.domain import Domain
from poisoncli.core.errors import PoisonError
from poisoncli.core.losses import ROW_LOSS
from poisoncli.core.split import default_sizes, draw
from poisoncli.core.victim import Exact, Objective, Trainer, is_linear_first
from poisoncli.runs import defaults, description, limits, plugins, say, targets
from poisoncli.runs.description import Choice, Run
from poisoncli.runs.run_file import RunFile
from poisoncli.tables import memory
from poisoncli.tables.encode import Encoder, scaled, stacked
from poisoncli.training.settle import settle

LOG = logging.getLogger(__name__)
_MOST_USUAL = 5000  # training rows of several classes where none are asked for
_DAMAGED = "the run file is damaged, its rows are not those of its run: craft the poison again"
_PARTS = ("train", "val", "test")
_SETTLING = 5  # what the seed's key is folded with; `run` has the others


class Prepared(NamedTuple):
    """A resolved run with its data: the scaled split, the rows it was drawn from, and the attacker's domain.

    shift, scale, low, high: of the features, scalars, [m], or [repetitions, m] with real targets.
    y_shift, y_scale, y_low, y_high: of the targets, scalars or [repetitions].
    dataset: the data set as it was loaded, in its own units.
    target: the rows that the attack is about, see `targets`.
    encoder: what makes features of the rows of a user's table, fitted on `rows["train"]`; None for other data sets.
    domain: what a poison row may be, where the data have a schema or the user sets limits.
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
    integer: bool
    objective: Objective
    trainer: Trainer
    target: Data
    dataset: Dataset
    encoder: Encoder | None = None
    domain: Domain | None = None

    def units(self, r: int) -> tuple[np.ndarray, np.ndarray]:
        """Shift and scale of the features [m] of repetition r."""
        shape = self.split.train.x.shape[::2]
        shift, scale = (np.broadcast_to(part, shape)[r].astype(float) for part in (self.shift, self.scale))
        return shift, scale

    def own_rows(self, places: np.ndarray, r: int) -> np.ndarray:
        """Rows of the data set by their places, as repetition r has them, in their own units [n, m]."""
        if not len(places):  # scikit-learn's encoders take no empty tables
            return np.zeros((0, self.split.train.x.shape[2]))
        rows = self.dataset.x[places] if self.encoder is None else self.encoder.take(places, r)
        return np.asarray(rows, float)

    def learner(self, log_lambda: Any) -> Learner:
        """The victim with log_lambda [h]."""
        lambda_ = float(np.exp(np.asarray(log_lambda, float)[0])) / self.run.n_train
        return Learner(self.objective, self.trainer, log_lambda, self.task, lambda_)


def named_by_rows(run: Run, data_dir: str | None = None) -> Run:
    """`run` with the model and the attack that fit its rows, where it leaves them open and the rows alone tell."""
    kinds = (
        defaults.fields(description.DATASETS[run.dataset.name]) if run.dataset.name in description.DATASETS else {}
    )
    if "task" not in kinds or (run.model.name and run.attack.name):
        return run
    data = description.resolve(Run(dataset=description.named_by_task(run).dataset)).dataset
    dataset = description.build(data, "dataset").load(data_dir)
    names = (run.dataset.name, run.model.name, run.attack.name)
    model, attack = defaults.model_and_attack(*names, dataset.task, dataset.sparse)
    if not run.model.name:
        LOG.info("the victim is %s, which fits the targets: name another with --model", model)
    return dataclasses.replace(
        run, model=Choice(model, run.model.options), attack=Choice(attack, run.attack.options)
    )


def prepare(run: Run, data_dir: str | None = None) -> Prepared:
    """Load the data set of a resolved run, draw and scale its splits, and build what the run names."""
    run = targets.read_rows(run)
    dataset = _load(run, data_dir)
    others = np.setdiff1d(np.arange(len(dataset.y)), targets.set_apart(run, dataset))
    rows = _own_rows(run, dataset, others) if dataset.division else _drawn_rows(run, dataset, others)
    sizes = {f"n_{name}": chosen.shape[1] for name, chosen in rows.items()}
    run = dataclasses.replace(run, **sizes)
    encoder = dataset.table.fit(rows["train"]) if dataset.table is not None else None
    if defaults.dataset(run.dataset.name).scaled:
        say.what_was_done(dataset, rows, encoder)
    return _settled(_assemble(run, dataset, rows, _scaler(run, dataset, rows["train"], encoder), encoder))


def _drawn_rows(run: Run, dataset: Dataset, others: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of each part [repetitions, n]: as many of each class, or of the data set's own parts."""
    sizes = _sizes(run, dataset, others)
    drawn = [_draw(np.random.default_rng((run.seed, r)), dataset, others, sizes) for r in range(run.repetitions)]
    return {name: others[np.stack(part)] for name, part in zip(_PARTS, zip(*drawn, strict=True), strict=True)}


def _own_rows(run: Run, dataset: Dataset, others: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of each part [repetitions, n] of a user's own data, parted as he says."""
    assert dataset.division is not None
    asked = (run.n_train, run.n_val, run.n_test)
    rngs = [np.random.default_rng((run.seed, r)) for r in range(run.repetitions)]
    drawn = own_split.same_sizes(
        [own_split.part(rng, dataset.y, dataset.task, asked, dataset.division, others) for rng in rngs]
    )
    return {name: np.stack(part) for name, part in zip(_PARTS, zip(*drawn, strict=True), strict=True)}


def _load(run: Run, data_dir: str | None) -> Dataset:
    """The data set of a resolved run. Raises `PoisonError` if the model cannot learn it."""
    dataset = description.build(run.dataset, "dataset").load(data_dir)
    check_fit(run, dataset)
    return dataset


def _assemble(
    run: Run,
    dataset: Dataset,
    rows: dict[str, np.ndarray],
    scaler: dict[str, np.ndarray],
    encoder: Encoder | None,
) -> Prepared:
    """The chosen rows [repetitions, n] of a data set, scaled, and what the run names."""
    _check_memory(run, dataset, rows, encoder)
    split = Split(*(_take(dataset, rows[name], scaler, encoder) for name in _PARTS))
    domain = limits.domain_of(run, dataset, rows["train"], encoder)
    low, high = (dataset.low, dataset.high) if domain is None else (domain.low, domain.high)
    model = description.build(run.model, "model")
    return Prepared(
        run=run,
        split=split,
        rows=rows,
        low=np.asarray((low - scaler["shift"]) / scaler["scale"], np.float32),
        high=np.asarray((high - scaler["shift"]) / scaler["scale"], np.float32),
        domain=domain,
        y_low=np.asarray(split.train.y).min(1) if dataset.task == "real" else np.zeros(()),
        y_high=np.asarray(split.train.y).max(1) if dataset.task == "real" else np.ones(()),
        **scaler,
        sha256=dataset.sha256,
        task=dataset.task,
        integer=encoder.counts if encoder else dataset.integer,
        objective=Objective(
            *(model, ROW_LOSS[dataset.task], run.reg, float(run.n_train)),
            outputs=int(dataset.y.max()) + 1 if dataset.task == "multiclass" else 1,
        ),
        trainer=description.build(run.trainer, "trainer"),
        dataset=dataset,
        target=targets.target(run, split, lambda rows: _take(dataset, rows, scaler, encoder), dataset),
        encoder=encoder,
    )


def _check_memory(run: Run, dataset: Dataset, rows: dict[str, np.ndarray], encoder: Encoder | None) -> None:
    """Raise `PoisonError` where the rows of all repetitions, or training on them, would need too much memory."""
    repetitions, n = rows["train"].shape
    count = sum(part.size for part in rows.values())
    m = encoder.m if encoder is not None else dataset.x.shape[1]
    each = 20.0 * m  # as they are, scaled, and rounded
    if dataset.sparse:  # numbers and their columns; what words make of a table is not known before
        each = 0.0 if encoder is not None else 12 * dataset.x.nnz / dataset.x.shape[0]
    memory.check(count * each, f"{count:,} rows of {m:,} features", "ask for fewer --n-train or --reps")
    model = description.build(run.model, "model")
    if not is_linear_first(model) or isinstance(model, Exact):
        return
    classes = int(dataset.y.max()) + 1 if dataset.task == "multiclass" else 1
    layers = jax.eval_shape(lambda: model.init(jax.random.key(0), m, classes))
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(layers))
    outputs = sum(math.prod(layer["b"].shape) for layer in layers)
    needed = 4 * repetitions * (4 * parameters + 3 * n * outputs)  # with gradients and momentum
    cure = "choose a smaller one, or fewer --n-train or --reps"
    memory.check(needed, f"training model {run.model.name} of {parameters:,} parameters", cure)


def _settled(prepared: Prepared) -> Prepared:
    """`prepared` with the rate and the epochs of its trainer, and of the attack, found where they are 0.

    A learned lambda then stays below where a step of this rate would diverge.
    """
    run, trainer = prepared.run, prepared.trainer
    if (trainer.rate and trainer.epochs) or isinstance(prepared.objective.model, Exact):
        return prepared
    key = jax.random.fold_in(jax.random.key(run.seed), _SETTLING)
    lambda_ = 1.0 if run.clean_lambda else run.lambda_ or 0.0  # cross-validation tries lambda up to 1
    with np.errstate(divide="ignore"):
        log_lambda = np.log(np.full(1, lambda_ * run.n_train))
    train = Data(*(leaf[0] for leaf in prepared.split.train))
    found = settle(key, prepared.objective, trainer, train, log_lambda, defaults.model(run.model.name).convex)
    trainer = found.trainer
    options = {"rate": trainer.rate, "epochs": trainer.epochs}
    attack = {"inner_rate": trainer.rate, "inner_steps": found.steps}
    own = {name: value for name, value in attack.items() if run.attack.options.get(name, 1) == 0}
    LOG.info(
        "%s takes rate %.3g (-o trainer.rate=) and %d epochs (-o trainer.epochs=): the loss on the clean rows %s%s",
        run.trainer.name,
        trainer.rate,
        trainer.epochs,
        f"has settled at {found.loss:.3g}"
        if found.settled
        else f"is {found.loss:.3g} and still falling, by "
        f"{found.fall:.0%} of its start in the last half: more epochs train further",
        f"; the attack looks {found.steps} ahead (-o inner_steps=)"
        if own.get("inner_steps", trainer.epochs) < trainer.epochs
        else "",
    )
    if run.attack.options.get("log_lambda_max") == math.inf:
        own["log_lambda_max"] = math.log(0.9 * run.n_train / trainer.rate)
    run = dataclasses.replace(
        run,
        trainer=Choice(run.trainer.name, {**run.trainer.options, **options}),
        attack=Choice(run.attack.name, {**run.attack.options, **own}),
    )
    return prepared._replace(run=run, trainer=trainer)


def _draw(
    rng: np.random.Generator, dataset: Dataset, others: np.ndarray, sizes: tuple[int, int, int]
) -> tuple[np.ndarray, ...]:
    """Numbers within `others` of rows for training, validation and test: of all, or of the data's own parts."""
    if dataset.parts is None:
        return draw(rng, dataset.y[others], dataset.task, sizes)
    n_train, n_val, n_test = sizes
    first, last = (np.flatnonzero(np.isin(others, part)) for part in dataset.parts)
    if n_train + n_val > len(first) or n_test > len(last):
        raise PoisonError(
            f"the data come in {len(first)} training and {len(last)} test rows: let --n-train and --n-val add up "
            f"to at most {len(first)}, and --n-test to {len(last)}"
        )
    if n_train < len(first):
        first = rng.permutation(first)
    if n_test < len(last):
        last = rng.permutation(last)
    return first[:n_train], first[n_train : n_train + n_val], last[:n_test]


def _sizes(run: Run, dataset: Dataset, rows: np.ndarray) -> tuple[int, int, int]:
    if dataset.parts is not None:
        first, last = (int(np.isin(rows, part).sum()) for part in dataset.parts)
        return run.n_train or first - run.n_val, run.n_val, run.n_test or last
    usual = _declared_sizes(run, dataset) or default_sizes(dataset.y[rows], dataset.task)
    asked = (run.n_train, run.n_val, run.n_test)
    return tuple(a or u for a, u in zip(asked, usual, strict=True))  # type: ignore[return-value]


def _declared_sizes(run: Run, dataset: Dataset) -> tuple[int, ...] | None:
    """The sizes that a data set declares, for two classes; with more classes as many rows of each up to 5,000."""
    sizes = defaults.dataset(run.dataset.name).sizes
    if sizes is None or dataset.task != "multiclass":
        return sizes
    factor = min((int(dataset.y.max()) + 1) / 2, max(1, _MOST_USUAL / sizes[0]))
    return tuple(int(factor * size) for size in sizes)


def check_fit(run: Run, dataset: Dataset) -> None:
    """Raise `PoisonError` unless model and attack are for these targets, and for sparse rows if they are sparse."""
    sparse = dataset.sparse
    cures, who = [], []
    for kind, flag, choice in ((OfModel, "--model", run.model), (OfAttack, "--method", run.attack)):
        able = defaults.fitting(kind, dataset.task, sparse=sparse)
        if choice.name not in able:
            who.append(f"{'model' if kind is OfModel else 'attack'} {choice.name}")
            cures.append(f"{flag} {' or '.join(able)}")
    if not who:
        return
    count = len(np.unique(dataset.y)) if dataset.task == "multiclass" else 2
    what = "real targets" if dataset.task == "real" else "two classes" if count == 2 else f"{count} classes"
    fewer = ", or pick two with --classes a,b" if dataset.task == "multiclass" else ""
    raise PoisonError(
        f"{run.dataset.name} has {what}{' and sparse rows' if sparse else ''}, which {' and '.join(who)} cannot "
        f"take: choose {' and '.join(cures)}{fewer}"
    )


def _scaler(run: Run, dataset: Dataset, train: np.ndarray, encoder: Encoder | None = None) -> dict[str, np.ndarray]:
    """Shift and scale of features and targets, in the data set's units, by the clean training rows `train`.

    With real targets both are standardized (SPR Appendix E), and so are the features of a user's own table. What is
    constant is divided by 1. The precision is that of the data set. train: [repetitions, n].
    """
    scaler: dict[str, Any] = {"shift": 0, "scale": 1, "y_shift": 0, "y_scale": 1}
    if dataset.task == "real":
        y = dataset.y[train].astype(float)
        if np.any(y.max(1) == y.min(1)):
            raise PoisonError(
                f"the training targets of {run.dataset.name} are all the same: ask for more --n-train"
            )
        scaler.update(y_shift=y.mean(1), y_scale=y.std(1))
    if encoder is not None:
        scaler.update(encoder.scaler(train))
    elif dataset.task == "real" and not dataset.sparse:
        x = dataset.x[train].astype(float)
        scaler.update(shift=x.mean(1), scale=nonzero(x.std(1), np.abs(x).max(1)))
    precision = np.float64 if encoder else np.result_type(dataset.x.dtype, np.float32)
    return {name: np.asarray(value, precision) for name, value in scaler.items()}


def nonzero(scale: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """`scale` with 1 where it is nothing but the rounding of a constant column with values up to `largest`."""
    return np.where(scale > 1e-12 * largest, scale, 1)


def _take(
    dataset: Dataset, rows: np.ndarray, scaler: dict[str, np.ndarray], encoder: Encoder | None = None
) -> Data:
    """The rows [repetitions, n] of a data set, encoded and scaled; sparse features of others stay as they are."""
    y: Any = np.asarray(dataset.y)[rows]
    if dataset.task == "real" or not dataset.sparse:
        y = ((dataset.y[rows].T - scaler["y_shift"]) / scaler["y_scale"]).T
    y, weight = np.ascontiguousarray(y, np.float32), np.ones(rows.shape, np.float32)
    if encoder is not None:
        shift, scale = (np.broadcast_to(scaler[name], (len(rows), encoder.m)) for name in ("shift", "scale"))
        parts = [scaled(encoder.take(own, r), shift[r], scale[r]) for r, own in enumerate(rows)]
        return Data(stacked(parts), y, weight)
    if dataset.sparse:
        sparse: Any = Sparse(dataset.x[chosen] for chosen in rows)
        return Data(sparse, y, weight)
    shift, scale = (np.asarray(scaler[name]) for name in ("shift", "scale"))
    if shift.ndim == 2:
        shift, scale = shift[:, None], scale[:, None]
    x = ((dataset.x[rows] - shift) / scale).astype(np.float32)
    return Data(x, y, weight)


def restore(content: RunFile, data_dir: str | None = None) -> Prepared:
    """The data and methods of a run file, with the very rows that it was crafted on."""
    plugins.require(description.methods(description.from_json(content.run)), content.plugins)
    poison, run = content.poison, description.from_json(content.run)
    added = poison.replaced.size > 0 and poison.replaced.max() < 0  # then the best so far can be judged
    if poison.done < poison.total and not added:
        raise PoisonError("the poison is not complete: finish it with `poison attack --resume` first")
    dataset = _load(run, data_dir)
    if dataset.sha256 != content.sha256:
        raise PoisonError(
            f"the data set {run.dataset.name} has changed since the poison was crafted: "
            "restore it, or craft the poison again"
        )
    sizes = [(run.repetitions, n) for n in (run.n_train, run.n_val, run.n_test)]
    if (
        [content.split[name].shape for name in _PARTS] != sizes
        or any(rows.size and (rows.min() < 0 or rows.max() >= len(dataset.y)) for rows in content.split.values())
        or not (dataset.task == "real" or np.all(np.isin(poison.y, dataset.y)))
        or content.real != (dataset.task == "real")
    ):
        raise PoisonError(_DAMAGED)
    encoder = dataset.table.fit(content.split["train"]) if dataset.table is not None else None
    if poison.x.shape[2] != (encoder.m if encoder else dataset.x.shape[1]):
        raise PoisonError(_DAMAGED)
    return _assemble(run, dataset, content.split, content.scaler, encoder)


def class_names(run: Run, dataset: Dataset) -> tuple[str, ...]:
    """What the user calls the classes 0, 1, ... of a data set; none where its targets are real."""
    if dataset.task == "real":
        return ()
    told = dataset.class_names or run.dataset.options.get("classes", ()) or ()
    k = max(2, int(np.max(dataset.y)) + 1)
    named = [names for names in (told, defaults.dataset(run.dataset.name).class_names) if len(names) == k]
    return tuple(map(str, named[0] if named else range(k)))


def poisoned(train: Data, poison: Poison, stage: int) -> tuple[Data, np.ndarray, np.ndarray]:
    """The training rows of a stage: data, which rows are poison [repetitions, n], and where each came from.

    The last array holds for a poison row its number among the poison rows, and -1 for a clean one.
    """
    count = int(poison.counts[stage])
    if isinstance(train.x, Sparse) or (poison.replaced.size and poison.replaced[0, 0] < 0):
        return _with_added(train, poison, count)
    index = poison.replaced[:, :count]
    x, y = np.array(train.x), np.array(train.y)
    number = np.full(y.shape, -1)
    np.put_along_axis(x, index[:, :, None], poison.x[:, :count], axis=1)
    np.put_along_axis(y, index, poison.y[:, :count], axis=1)
    np.put_along_axis(number, index, np.broadcast_to(np.arange(count), index.shape), axis=1)
    return Data(x, y, train.weight), number >= 0, number


def _with_added(train: Data, poison: Poison, count: int) -> tuple[Data, np.ndarray, np.ndarray]:
    """The training rows followed by all poison rows, of which the first `count` have weight 1, the others 0."""
    repetitions, points = poison.y.shape
    clean = train.y.shape[1]
    if isinstance(train.x, Sparse):
        parts = zip(train.x, poison.x, strict=True)
        x: Any = Sparse(sp.vstack([a, sp.csr_matrix(b)], format="csr") for a, b in parts)
    else:
        x = np.concatenate([train.x, poison.x], axis=1)
    y = np.concatenate([train.y, poison.y], axis=1)
    weight = np.concatenate([train.weight, np.ones((repetitions, points), np.float32)], axis=1)
    weight[:, clean + count :] = 0
    number = np.concatenate(
        [np.full((repetitions, clean), -1), np.tile(np.arange(points), (repetitions, 1))], axis=1
    )
    number[:, clean + count :] = -1
    return Data(x, y, weight), number >= 0, number
