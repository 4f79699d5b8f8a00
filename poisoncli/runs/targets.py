"""Whose loss an attack moves: the rows that it targets, and the label that it pushes them to (HLP eq. 2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any

import jax
import numpy as np

from poisoncli.bilevel.initial_poison import LABELS
from poisoncli.core.data import Array, Data, Dataset, Params, Split
from poisoncli.core.errors import PoisonError
from poisoncli.core.losses import TARGET_LOSSES, error_rate
from poisoncli.core.victim import Objective, predict
from poisoncli.runs import defaults
from poisoncli.runs.description import Choice, Run
from poisoncli.tables.text import read_text


def read_rows(run: Run) -> Run:
    """`run` with the numbers of its target rows in place of the file that holds them, one a line or with commas."""
    options = run.attack.options
    kind, _, place = str(options.get("target", "")).partition(":")
    if kind != "rows" or _numbers(place):
        return run
    try:
        found = _numbers(",".join(read_text(place).split()))
    except (OSError, UnicodeDecodeError):
        found = ()
    if not found:
        raise PoisonError(
            f"--target-rows rows:{place} names no rows: give their numbers in the data set or in your file, with "
            "commas between them, or a text file of them"
        )
    named = {**options, "target": "rows:" + ",".join(map(str, sorted(set(found))))}
    return dataclasses.replace(run, attack=Choice(run.attack.name, named))


def set_apart(run: Run, dataset: Dataset) -> np.ndarray:
    """Places among the rows of a data set of those that the attack targets one by one: for nothing else.

    Run files of the first schema name the places themselves, later ones the rows by the user's numbers.
    """
    kind, _, listed = str(run.attack.options.get("target", "")).partition(":")
    known = {"rows": dataset.row_numbers, "places": np.arange(len(dataset.y))}.get(kind)
    if known is None:
        return np.empty(0, int)
    wanted = np.unique(_numbers(listed))
    missing = np.setdiff1d(wanted, known)
    if missing.size:
        raise PoisonError(
            f"there is no row {missing[0]} of these classes to target: choose from {known[0]} to {known[-1]} "
            f"({dataset.counted})"
        )
    return np.flatnonzero(np.isin(known, wanted))


def target(run: Run, split: Split, take: Callable[[np.ndarray], Data], dataset: Dataset) -> Data:
    """The rows that the attack targets [repetitions, n], with the label that it pushes them to if there is one.

    take: gives rows of the data set by their places [repetitions, n], scaled.
    """
    options = run.attack.options
    kind, _, name = str(options.get("target", "val")).partition(":")
    if kind in ("rows", "places"):
        rows = set_apart(run, dataset)
        chosen = take(np.tile(rows, (run.repetitions, 1)))
    elif kind == "class":
        chosen = split.val._replace(
            weight=(split.val.y == class_number(run, name, dataset.class_names)).astype(np.float32)
        )
        if not np.all(chosen.weight.sum(1)):
            raise PoisonError(f"the validation rows have none of class {name}: ask for more with --n-val")
    else:
        chosen = getattr(split, kind)
    if options.get("target_label"):
        wanted = class_number(run, str(options["target_label"]), dataset.class_names)
        chosen = chosen._replace(y=np.full_like(chosen.y, wanted))
    return chosen


def row_loss(run: Run) -> Callable[[Array, Array], Array] | None:
    """What the attack maximizes on a target row, where that is not the row loss of the training."""
    options = run.attack.options
    return TARGET_LOSSES[options.get("target_loss", "training"), bool(options.get("target_label"))]


def is_general(run: Run) -> bool:
    """Whether the attack looks at other rows than the learner's validation rows, or in another way."""
    return run.attack.options.get("target", "val") != "val" or row_loss(run) is not None


def class_number(run: Run, name: str, class_names: tuple[str, ...] = ()) -> int:
    """The number of the class that a user calls `name`. Raises `PoisonError` if there is none."""
    given = class_names or tuple(run.dataset.options.get("classes", ()))
    known: tuple[Hashable, ...] = given or defaults.dataset(run.dataset.name).class_names or (0, 1)
    names = [str(one) for one in known]
    if name not in names:
        raise PoisonError(f"there is no class {name} to target: choose one of {', '.join(names)}")
    return names.index(name)


def poison_label(run: Run, dataset: Dataset) -> str | int:
    """See `Problem.poison_label`. Raises `PoisonError` for a class that is not there, and for real targets."""
    name = str(run.attack.options.get("poison_label", LABELS[0]))
    if name in LABELS:
        return name
    if dataset.task == "real":
        raise PoisonError("real targets have no classes: leave --poison-label out")
    return class_number(run, name, dataset.class_names)


def rate(run: Run, objective: Objective, rows: Data, params: Params) -> np.ndarray:
    """Share of the target rows that come out as the attacker wants [repetitions, stages]; empty for whole parts.

    That is: with the label that he chose, or else with a wrong one.
    params: layers, with leading axes [repetitions, stages].
    """
    label = bool(run.attack.options.get("target_label"))
    if not label and ":" not in str(run.attack.options.get("target", "")):
        return np.empty((0, 0), np.float32)

    def wrong(params: Params, rows: Data) -> Array:
        return error_rate(predict(objective.model, params, rows.x), rows.y, rows.weight)

    over_stages = jax.vmap(wrong, in_axes=(0, None))
    params = objective.from_layers(params, rows.x.shape[-1])
    wanted: Any = np.asarray(jax.vmap(over_stages)(params, rows))
    return 1 - wanted if label else wanted


def _numbers(listed: str) -> tuple[int, ...]:
    """The whole numbers of a list with commas; none if it is no such list."""
    parts = [part.strip() for part in listed.split(",") if part.strip()]
    return tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else ()
