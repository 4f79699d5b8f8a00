"""What the attacker sees of a prepared run, and how much poison he may make."""

from __future__ import annotations

import dataclasses
import functools
import math

import jax
import numpy as np

from poisoncli.core.attack import Problem, Threat, Units
from poisoncli.core.data import Array, Data, Dataset, Task
from poisoncli.core.errors import PoisonError
from poisoncli.core.losses import weights
from poisoncli.datasets.file import class_name
from poisoncli.runs import defaults, targets
from poisoncli.runs.description import Run
from poisoncli.runs.prepare import Prepared
from poisoncli.tables.encode import Encoder
from poisoncli.tables.inspect import Request, inspect, refuse
from poisoncli.training.cross_validation import best_log_lambda

SHARE: dict[Task, float] = {"binary": 0.07, "multiclass": 0.07, "real": 0.075}  # of a batch; HLP, SPR
_FOLDS = 3  # what the seed's key is folded with; `prepare` and `stages` have the others


def problem(prepared: Prepared) -> Problem:
    """What the attacker sees."""
    run = prepared.run
    layers = 1
    if run.per_layer:
        m = prepared.split.train.x.shape[2]
        found = jax.eval_shape(lambda: prepared.objective.init(jax.random.key(0), m))
        layers = len(weights(found))
    return Problem(
        train=prepared.split.train,
        target=_target(prepared),
        objective=dataclasses.replace(prepared.objective, outer=targets.row_loss(run)),
        trainer=prepared.trainer,
        threat=Threat(
            counts_of(run, prepared.task),
            prepared.low,
            prepared.high,
            prepared.y_low,
            prepared.y_high,
            prepared.integer,
            prepared.domain,
        ),
        log_lambda=np.repeat(_fixed(prepared)[:, None], layers, axis=1),
        learn=np.array([run.learn_lambda]),
        clean_only=np.array([run.learn_lambda and run.clean_lambda]),
        task=prepared.task,
        trusted=prepared.split.val if targets.is_general(run) and run.learn_lambda else None,
        poison_label=targets.poison_label(run, prepared.dataset),
        units=Units(prepared.shift, prepared.scale, prepared.y_shift, prepared.y_scale),
        read=functools.partial(own_poison, prepared.dataset, prepared.encoder) if prepared.encoder else None,
    )


def own_poison(dataset: Dataset, encoder: Encoder, path: str) -> tuple[Array, np.ndarray]:
    """Poison from a file that has the columns of the user's table: features in their own units, and targets."""
    table = encoder.table
    found = inspect(Request(path, table.target))
    names = [column.name for column in table.columns]
    lacking = [name for name in names if name not in found.frame.columns]
    if found.target and lacking:
        raise PoisonError(f"{path} lacks the columns {', '.join(map(repr, lacking))} of the data: add them")
    if not found.target:
        refuse(found.problems, path)
    frame = found.frame[found.frame["poison"] == 1] if "poison" in found.frame else found.frame
    cells = frame[table.target]
    if dataset.task == "real":
        y = cells.to_numpy(float, na_value=np.nan)
    else:
        numbers = {class_name(name): number for number, name in enumerate(dataset.class_names)}
        y = cells.map(lambda cell: numbers.get(class_name(cell), np.nan)).to_numpy(float)
    if np.isnan(y).any():
        known = ", ".join(dataset.class_names) or "numbers"
        raise PoisonError(f"{path} has other targets than {known}: mend or remove those rows")
    rows = dataclasses.replace(encoder, table=table.like(frame.reset_index(drop=True)))
    return rows.take(np.arange(len(y)), 0), y.astype(np.float32)


def _target(prepared: Prepared) -> Data:
    """The rows that the attack is about. Raises `PoisonError` if there are none."""
    attack = prepared.run.attack
    wanted = "target" in attack.options or not defaults.attack(attack.name).adds
    if wanted and not prepared.target.y.shape[1]:
        raise PoisonError("there are no validation rows to attack: set some apart with --n-val, such as 400")
    return prepared.target


def _fixed(prepared: Prepared) -> np.ndarray:
    """The fixed log_lambda of each repetition; -inf for no penalty."""
    run, train = prepared.run, prepared.split.train
    if not run.clean_lambda or run.learn_lambda:
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


def counts_of(run: Run, task: Task) -> tuple[int, ...]:
    """Poison rows in all at each stage: batches of one size, the last one shorter where they do not add up.

    They reach the fraction to the row. Whole batches that miss it by less than a row stay whole.
    """
    exact = min((run.fraction or 0) * run.n_train, run.n_train - 1)  # one clean row at least
    if exact < 1 - 1e-9:
        raise PoisonError(
            f"--fraction {run.fraction} of {run.n_train} training rows is less than one row: raise it"
        )
    if defaults.attack(run.attack.name).adds:
        return (0, int(exact + 1e-9))
    batch = run.attack.options.get("batch") or max(1, round(SHARE[task] * run.n_train))
    if batch > run.n_train:
        raise PoisonError(
            f"a batch of {batch} is larger than the {run.n_train} clean training rows: choose a smaller -o batch"
        )
    whole = round(exact / batch) * batch
    if whole and abs(whole - exact) < 1 and whole < run.n_train:
        return tuple(range(0, whole + 1, batch))
    total = round(exact)
    stages = math.ceil(total / batch)
    return (*range(0, total, math.ceil(total / stages)), total)
