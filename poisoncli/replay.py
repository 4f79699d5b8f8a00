"""Judge poison without a run file of its own, or by a defender who differs from the one it was made for."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from poisoncli import run, store
from poisoncli.config import Choice, Run
from poisoncli.core.types import Poison, PoisonError
from poisoncli.models.svm import SVM
from poisoncli.prepare import Prepared, restore
from poisoncli.store import RunFile

Report = Callable[[int, int, str], None]


def given(wanted: Run, path: str, data_dir: str | None = None) -> RunFile:
    """The run file of a data set with the poison of the file `path` added; none if it is empty."""
    wanted = dataclasses.replace(wanted, attack=Choice("given", {"path": path}))
    with tempfile.TemporaryDirectory() as folder:
        return store.read(run.attack(wanted, Path(folder) / "given.h5", data_dir=data_dir))


def judge(
    content: RunFile,
    defenses: Sequence[Choice],
    *,
    lambda_: float | None = None,
    loss: str = "",
    passes: int | None = None,
    data_dir: str | None = None,
    report: Report = lambda done, total, what: None,
) -> RunFile:
    """Weigh the rows by each (resolved) defense, and train and score the victim without and behind each.

    lambda_, loss, passes: of the defender's svm, where they differ from the run's (KSL sections 6.1-6.3).
    Raises `PoisonError` if the run's model has no such options.
    """
    prepared = restore(content, data_dir)
    poison = content.poison
    changes = {name: value for name, value in (("loss", loss), ("passes", passes)) if value not in ("", None)}
    if changes or lambda_ is not None:
        model = prepared.objective.model
        if not isinstance(model, SVM):
            raise PoisonError("another lambda, loss or number of passes is for an svm: craft with --model svm")
        objective = dataclasses.replace(prepared.objective, model=dataclasses.replace(model, **changes))
        prepared = prepared._replace(objective=objective)
    if lambda_ is not None:
        value = np.float32(np.log(lambda_ * prepared.run.n_train))
        poison = poison._replace(log_lambda=np.full_like(poison.log_lambda, value))
    found = {choice.name: run.weigh(prepared, poison, choice, report) for choice in defenses}
    content = dataclasses.replace(content, poison=poison, defenses=found, evaluations={})
    scores = {name: run.behind(prepared, content, name, report) for name in ("none", *found)}
    return dataclasses.replace(content, evaluations=scores)


def outside(prepared: Prepared, poison: Poison) -> int:
    """How many poison points are not in the data set's domain: below or above it, or no whole numbers."""
    count = 0
    for part in poison.x:
        rows = np.asarray(part.toarray() if sp.issparse(part) else part)
        bad = (rows < prepared.low).any(axis=1) | (rows > prepared.high).any(axis=1)
        count += int(np.sum(bad | (rows % 1 != 0).any(axis=1) if prepared.integer else bad))
    return count
