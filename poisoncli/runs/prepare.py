"""A run's data: loaded, split, scaled; and what the run names."""

from __future__ import annotations

import dataclasses
import logging
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.core.data import Data, Dataset, Split, Task
from poisoncli.core.declared import OfAttack, OfModel
from poisoncli.core.defense import Learner
from poisoncli.core.domain import Domain
from poisoncli.core.errors import PoisonError
from poisoncli.core.losses import ROW_LOSS, wrong
from poisoncli.core.victim import Exact, Objective, Trainer, is_linear_first, predict
from poisoncli.runs import defaults, description, limits, plugins, say, serialize, targets
from poisoncli.runs.description import Choice, Run
from poisoncli.runs.run_file import RunFile
from poisoncli.runs.scaling import scaler, take
from poisoncli.runs.splits import PARTS, rows_of
from poisoncli.tables import memory
from poisoncli.tables.encode import Encoder
from poisoncli.training import jax_models
from poisoncli.training.footprint import footprint
from poisoncli.training.optimum import solved
from poisoncli.training.settle import settle

LOG = logging.getLogger(__name__)
_DAMAGED = "the run file is damaged, its rows are not those of its run: craft the poison again"
ATTACKING, VICTIM, DEFENDING, SETTLING = 1, 2, 4, 5  # what the seed's key is folded with


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

    def keys(self, purpose: int) -> Any:
        """A key for each repetition, for one of the purposes `ATTACKING`, ..."""
        key = jax.random.fold_in(jax.random.key(self.run.seed), purpose)
        return jax.vmap(lambda r: jax.random.fold_in(key, r))(jnp.arange(self.run.repetitions))

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
    rows = rows_of(run, dataset, others)
    sizes = {f"n_{name}": chosen.shape[1] for name, chosen in rows.items()}
    run = dataclasses.replace(run, **sizes)
    encoder = Encoder.fit(dataset.table, rows["train"]) if dataset.table is not None else None
    if defaults.dataset(run.dataset.name).scaled:
        say.what_was_done(dataset, rows, encoder)
        say.small_batches(dataset, rows["train"][0], int(run.trainer.options.get("size", 0)))
    return _settled(_assemble(run, dataset, rows, scaler(run, dataset, rows["train"], encoder), encoder))


def _load(run: Run, data_dir: str | None) -> Dataset:
    """The data set of a resolved run. Raises `PoisonError` if the model cannot learn it."""
    dataset = description.build(run.dataset, "dataset").load(data_dir)
    check_fit(run, dataset)
    return dataset


def _assemble(
    run: Run,
    dataset: Dataset,
    rows: dict[str, np.ndarray],
    units: dict[str, np.ndarray],
    encoder: Encoder | None,
) -> Prepared:
    """The chosen rows [repetitions, n] of a data set, scaled, and what the run names."""
    _check_memory(run, dataset, rows, encoder)
    split = Split(*(take(dataset, rows[name], units, encoder) for name in PARTS))
    domain = limits.domain_of(run, dataset, rows["train"], encoder)
    low, high = (dataset.low, dataset.high) if domain is None else (domain.low, domain.high)
    objective = Objective(
        *(description.build(run.model, "model"), ROW_LOSS[dataset.task], run.reg, float(run.n_train)),
        outputs=int(dataset.y.max()) + 1 if dataset.task == "multiclass" else 1,
    )
    if plugins.sources({"model": run.model.name}) and not dataset.sparse:
        jax_models.check(objective, split.train.x[0, :5], run.model.name)
    return Prepared(
        run=run,
        split=split,
        rows=rows,
        low=np.asarray((low - units["shift"]) / units["scale"], np.float32),
        high=np.asarray((high - units["shift"]) / units["scale"], np.float32),
        domain=domain,
        y_low=np.asarray(split.train.y).min(1) if dataset.task == "real" else np.zeros(()),
        y_high=np.asarray(split.train.y).max(1) if dataset.task == "real" else np.ones(()),
        **units,
        sha256=dataset.sha256,
        task=dataset.task,
        integer=encoder.counts if encoder else dataset.integer,
        objective=objective,
        trainer=description.build(run.trainer, "trainer"),
        dataset=dataset,
        target=targets.target(run, split, lambda rows: take(dataset, rows, units, encoder), dataset),
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
    if isinstance(model, Exact):
        return
    classes = int(dataset.y.max()) + 1 if dataset.task == "multiclass" else 1
    cure = "choose a smaller one, or fewer --n-train or --reps"
    if not is_linear_first(model):
        objective = Objective(model, ROW_LOSS[dataset.task], run.reg, float(n), outputs=classes)
        try:
            parameters, activations = footprint(objective, m)
        except PoisonError:
            raise
        except Exception:  # a model of the user's own that cannot start or answer: `jax_models.check` says why
            return
        needed = 4 * repetitions * (4 * parameters + n * (activations + m))
        memory.check(needed, f"training model {run.model.name} of {parameters:,} parameters", cure)
        return
    layers = jax.eval_shape(lambda: model.init(jax.random.key(0), m, classes))
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(layers))
    outputs = sum(math.prod(layer["b"].shape) for layer in layers)
    needed = 4 * repetitions * (4 * parameters + 3 * n * outputs)  # with gradients and momentum
    memory.check(needed, f"training model {run.model.name} of {parameters:,} parameters", cure)


def _settled(prepared: Prepared) -> Prepared:
    """`prepared` with the rate and the epochs of its trainer, and of the attack, found where they are 0.

    A learned lambda then stays below where a step of this rate would diverge. Where no epochs are given, a victim
    that can be solved is scored at its optimum.
    """
    run, trainer = prepared.run, prepared.trainer
    at_optimum = run.at_optimum or (not trainer.epochs and description.solvable(run))
    if (trainer.rate and trainer.epochs) or isinstance(prepared.objective.model, Exact):
        return prepared
    key = jax.random.fold_in(jax.random.key(run.seed), SETTLING)
    lambda_ = 1.0 if run.clean_lambda else run.lambda_ or 0.0  # cross-validation tries lambda up to 1
    with np.errstate(divide="ignore"):
        log_lambda = np.log(np.full(1, lambda_ * run.n_train))
    train = Data(*(leaf[0] for leaf in prepared.split.train))
    convex = defaults.model(run.model.name).convex
    found = settle(key, prepared.objective, trainer, train, log_lambda, convex)
    short = convex and not found.at_optimum and not at_optimum
    trainer = found.trainer
    options = {"rate": trainer.rate, "epochs": trainer.epochs}
    attack = {"inner_rate": trainer.rate, "inner_steps": found.steps}
    own = {name: value for name, value in attack.items() if run.attack.options.get(name, 1) == 0}
    LOG.info(
        "%s takes rate %.3g (-o trainer.rate=) and %d epochs (-o trainer.epochs=): the loss on the clean rows %s%s",
        run.trainer.name,
        trainer.rate,
        trainer.epochs,
        f"has settled at {found.loss:.3g}{', short of its optimum (a penalty brings it nearer)' if short else ''}"
        if found.settled
        else f"is {found.loss:.3g} and still falling, by "
        f"{found.fall:.0%} of its start in the last half: more epochs train further",
        f"; the attack looks {found.steps} ahead (-o inner_steps=)"
        if own.get("inner_steps", trainer.epochs) < trainer.epochs
        else "",
    )
    if at_optimum:
        _say_optimum(prepared, train, lambda_)
    if run.attack.options.get("log_lambda_max") == math.inf:
        own["log_lambda_max"] = math.log(0.9 * run.n_train / trainer.rate)
    run = dataclasses.replace(
        run,
        trainer=Choice(run.trainer.name, {**run.trainer.options, **options}),
        attack=Choice(run.attack.name, {**run.attack.options, **own}),
        at_optimum=at_optimum,
    )
    return prepared._replace(run=run, trainer=trainer)


def _say_optimum(prepared: Prepared, train: Data, lambda_: float) -> None:
    """Where the victim is scored, and whether the clean rows `train` have an optimum without a penalty."""
    LOG.info("all figures are those of the victim at its optimum, as scikit-learn finds it")
    objective = prepared.objective
    if lambda_ or prepared.task == "real":
        return
    every = Data(*(np.asarray(leaf)[None] for leaf in train))
    params = solved(objective, every, [0.0])
    if params is None:
        return
    first = [{name: leaf[0] for name, leaf in layer.items()} for layer in params]
    if not np.any(wrong(predict(objective.model, first, train.x), train.y)):
        LOG.info(
            "the classes of the clean rows separate, so that without a penalty there is no optimum, and the error "
            "depends on where the solver stops: --lambda 0.01 gives one"
        )


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


def restore(content: RunFile, data_dir: str | None = None) -> Prepared:
    """The data and methods of a run file, with the very rows that it was crafted on."""
    plugins.require(serialize.methods(serialize.from_json(content.run)), content.plugins)
    poison, run = content.poison, serialize.from_json(content.run)
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
        [content.split[name].shape for name in PARTS] != sizes
        or any(rows.size and (rows.min() < 0 or rows.max() >= len(dataset.y)) for rows in content.split.values())
        or not (dataset.task == "real" or np.all(np.isin(poison.y, dataset.y)))
        or content.real != (dataset.task == "real")
    ):
        raise PoisonError(_DAMAGED)
    encoder = Encoder.fit(dataset.table, content.split["train"]) if dataset.table is not None else None
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
