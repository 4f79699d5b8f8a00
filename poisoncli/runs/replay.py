"""Judge poison without a run file of its own, or by a defender who differs from the one it was made for."""

from __future__ import annotations

import dataclasses
import io
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from poisoncli.core.attack import Poison
from poisoncli.core.data import Data, Sparse, Task
from poisoncli.core.errors import PoisonError
from poisoncli.core.victim import Exact
from poisoncli.models.svm import SVM
from poisoncli.runs import defaults, description, run_file, stage_scores, stages
from poisoncli.runs.description import Choice, Run
from poisoncli.runs.poisoned import poisoned
from poisoncli.runs.prepare import Prepared, class_names, restore
from poisoncli.runs.problem import problem
from poisoncli.runs.progress import Report
from poisoncli.runs.run_file import RunFile
from poisoncli.sanitization.additive import Rows, stack
from poisoncli.sanitization.collapse import Collapsed, collapse_multiclass
from poisoncli.sanitization.collapse import collapse as collapse_binary
from poisoncli.sanitization.filters import beyond
from poisoncli.sanitization.search import SearchOptions, additions
from poisoncli.training.multiclass import MulticlassLinear
from poisoncli.training.optimum import solve_and_score

_ROUNDING = 1e-4  # of features that were written in their own units and scaled again


def with_given_poison(
    data: Choice,
    path: str,
    *,
    model: str = "",
    lambda_: float | None = None,
    seed: int = 0,
    data_dir: str | None = None,
) -> RunFile:
    """The run file of a data set with the poison of the file `path` added; none if it is empty.

    model: the victim; by default svm, multisvm or linear, what fits the targets. lambda_: of the victim; by
    default for an svm the papers' for the data set, else 0.01, and for others no penalty.
    """
    description.known(data.name, description.DATASETS, "dataset")
    model = model or {"binary": "svm", "multiclass": "multisvm", "real": "linear"}[_task(data, data_dir)]
    description.known(model, description.MODELS, "model")
    exact = isinstance(description.MODELS[model](), Exact)
    usual = defaults.settings(data.name, model).get("lambda", 0.01) if exact else None
    wanted = Run(
        dataset=data,
        model=Choice(model),
        attack=Choice("given", {"path": path}),
        lambda_=usual if lambda_ is None else lambda_,
        fraction=0.5,
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        return run_file.read(stages.attack(wanted, Path(folder) / "given.h5", data_dir=data_dir))


def _task(data: Choice, data_dir: str | None) -> Task:
    """What the targets of a data set are; where it does not declare it, they are read."""
    declared = defaults.dataset(data.name).task
    if declared is not None and not data.options.get("classes"):
        return declared
    return description.build(description.resolve(Run(dataset=data)).dataset, "dataset").load(data_dir).task


@dataclasses.dataclass(frozen=True)
class Detection:
    """What a defense removes of n clean and of poison rows; counts."""

    defense: str
    knows: str
    clean: int
    clean_removed: int
    poison: int
    poison_removed: int


def detect(content: RunFile, defenses: Sequence[Choice], data_dir: str | None = None) -> list[Detection]:
    """Let each (resolved) defense weigh clean rows and added poison together, at the largest fraction."""
    prepared = restore(content, data_dir)
    clean, found = prepared.run.n_train, []
    for choice in defenses:
        defended = stages.weigh(prepared, content.poison, choice, lambda done, total, what: None)
        away = defended.weight[0, -1] == 0
        sizes = (clean, int(away[:clean].sum()), len(away) - clean, int(away[clean:].sum()))
        found.append(Detection(choice.name, defended.knows, *sizes))
    return found


def reevaluate(
    content: RunFile,
    defenses: Sequence[Choice],
    *,
    lambda_: float | None = None,
    loss: str = "",
    passes: int | None = None,
    bias: str = "",
    data_dir: str | None = None,
    report: Report = lambda done, total, what: None,
) -> RunFile:
    """Weigh the rows by each (resolved) defense, and train and score the victim without and behind each.

    lambda_: of the defender, and loss, passes, bias of his svm, where they differ from the run's (KSL sections
    6.1-6.3). Raises `PoisonError` if the run's model has no such options.
    """
    prepared = restore(content, data_dir)
    poison = content.poison
    asked = {"loss": loss, "passes": passes, "bias": bias}
    changes = {name: value for name, value in asked.items() if value not in ("", None)}
    if changes:
        model = prepared.objective.model
        if not isinstance(model, SVM):
            raise PoisonError(
                f"the victim is {prepared.run.model.name}: leave out --loss, --passes and --bias, which an svm has"
            )
        kept = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
        changed = description.resolve(Run(model=Choice("svm", {**kept, **changes}))).model  # checks their ranges
        objective = dataclasses.replace(prepared.objective, model=description.build(changed, "model"))
        prepared = prepared._replace(objective=objective)
    if lambda_ is not None:
        if not 0 < lambda_ < math.inf:
            raise PoisonError(f"--lambda {lambda_} is no coefficient of a penalty: give a number above 0")
        if prepared.objective.reg == "none":
            prepared = prepared._replace(objective=dataclasses.replace(prepared.objective, reg="l2"))
        value = np.float32(np.log(lambda_ * prepared.run.n_train))
        poison = poison._replace(log_lambda=np.full_like(poison.log_lambda, value))
    found = {choice.name: stages.weigh(prepared, poison, choice, report) for choice in defenses}
    content = dataclasses.replace(
        content,
        poison=poison,
        defenses=found,
        evaluations={},
        victims=(),
        classes=class_names(prepared.run, prepared.dataset),
    )
    scores = {name: stage_scores.behind(prepared, content, name, report) for name in ("none", *found)}
    return dataclasses.replace(content, evaluations=scores)


@dataclasses.dataclass(frozen=True)
class CollapsedRun:
    """Poison collapsed to few distinct points (KSL Theorem 1), and what that does to the victim.

    points: with their copies as real numbers. test_error: without poison, with all rows, and with the points,
    each repeated a whole number of times, without a defense.
    """

    points: Collapsed
    test_error: tuple[float, float, float]


def collapse(content: RunFile, repetition: int = 0, data_dir: str | None = None) -> CollapsedRun:
    """Collapse the added poison of a repetition to one point of each class, or k (k - 1) points of k classes.

    Raises `PoisonError` where the theorem has nothing to say: poison that replaces rows, or another victim than
    a linear one at its optimum.
    """
    prepared = restore(content, data_dir)
    poison, victim = content.poison, prepared.objective.model
    if not 0 <= repetition < prepared.run.repetitions:
        raise PoisonError(f"repetition {repetition} is not there: the run has 0 to {prepared.run.repetitions - 1}")
    if not isinstance(victim, Exact) or not poison.y.size or poison.replaced[0, 0] >= 0:
        raise PoisonError("only poison that is added to the rows of model svm or multisvm can be collapsed")
    rows = Rows(poison.x[repetition], poison.y[repetition])
    if prepared.task == "multiclass":
        train, _, _ = poisoned(prepared.split.train, poison, len(poison.counts) - 1)
        lambda_ = prepared.learner(poison.log_lambda[repetition, -1]).lambda_
        layer = victim.optimum(train.x[repetition], train.y[repetition], lambda_)[0]
        found = collapse_multiclass(MulticlassLinear(layer["w"], layer["b"]), rows, prepared.integer)
        if getattr(victim, "passes", 0):
            found = found._replace(exact=False, why="the victim is not trained to its optimum")
    else:
        linear = additions(problem(prepared), SearchOptions())[repetition]
        found = collapse_binary(linear, Rows(rows.x, 2.0 * rows.y - 1))
        found = found._replace(y=(found.y + 1) / 2)
    whole = np.maximum(1, np.rint(found.copies)).astype(int)
    copied = Rows(np.repeat(found.x, whole, axis=0), np.repeat(found.y, whole))
    errors = [_error(prepared, poison, repetition, extra) for extra in (None, rows, copied)]
    return CollapsedRun(found, (errors[0], errors[1], errors[2]))


def write_points(points: Collapsed, out: str | Path) -> None:
    """Write the points, repeated a whole number of times, as x, y and `copies` to an NPZ file."""
    if Path(out).suffix != ".npz":
        raise PoisonError(f"{out} has no format that can be written: end its name in .npz")
    whole = np.maximum(1, np.rint(points.copies)).astype(int)
    buffer = io.BytesIO()
    x = np.repeat(points.x, whole, axis=0).astype(np.float32)
    np.savez_compressed(buffer, x=x, y=np.repeat(points.y, whole), copies=np.repeat(points.copies, whole))
    run_file.replace(Path(out), buffer.getvalue())


def _error(prepared: Prepared, poison: Poison, r: int, extra: Rows | None) -> float:
    """The victim's test error with rows added to the clean ones of a repetition."""
    rows = Rows(prepared.split.train.x[r], np.asarray(prepared.split.train.y[r]))
    seen = rows if extra is None else stack(rows, extra)
    ones = np.ones((1, len(seen.y)), np.float32)
    train = Data(Sparse([seen.x]) if sp.issparse(seen.x) else seen.x[None], seen.y[None], ones)
    val, test = (Data(*(leaf[r : r + 1] for leaf in part)) for part in (prepared.split.val, prepared.split.test))
    lambda_ = prepared.learner(poison.log_lambda[r, -1]).lambda_
    return float(solve_and_score(prepared.objective.model, train, [lambda_], val, test).test_error[0])  # type: ignore[arg-type]


def beyond_limits(content: RunFile, data_dir: str | None = None) -> dict[str, int]:
    """How many added poison rows are beyond the limits that the attack set itself, by limit; empty if none is.

    `domain`: below or above the features' range, or no whole numbers; `l2` and `slab`: above the attack's quantile
    of the clean rows' scores, by integer rounding or after re-fits. That is no defense's limit: a defense drops its
    share of the rows that it sees, poison among them.
    """
    prepared, poison = restore(content, data_dir), content.poison
    count = {"domain": outside_domain(prepared, poison)}
    attack = prepared.run.attack
    for name in defaults.attack(attack.name).evades:
        if name == "slab" and prepared.task == "multiclass":  # there is one of two classes alone
            continue
        count[name] = 0
        for r in range(len(poison.y)):
            clean = Data(*(leaf[r] for leaf in prepared.split.train))
            count[name] += int(beyond(name, clean, poison.x[r], poison.y[r], attack.options["quantile"]).sum())
    return {name: number for name, number in count.items() if number}


def outside_domain(prepared: Prepared, poison: Poison) -> int:
    """How many poison points are not in the data set's domain: below or above it, or no whole numbers."""
    count, shape = 0, (len(poison.x), poison.x.shape[2])
    bounds = zip(*(np.broadcast_to(bound, shape) for bound in (prepared.low, prepared.high)), strict=True)
    for part, (low, high) in zip(poison.x, bounds, strict=True):
        for first in range(0, part.shape[0], 256):
            some = part[first : first + 256]
            rows = np.asarray(some.toarray() if sp.issparse(some) else some)
            bad = (rows < low - _ROUNDING).any(axis=1) | (rows > high + _ROUNDING).any(axis=1)
            count += int(np.sum(bad | (rows % 1 != 0).any(axis=1) if prepared.integer else bad))
    return count
