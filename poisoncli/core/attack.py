"""What an attack may do, what it sees, and what it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

import numpy as np

from poisoncli.core.data import Array, Data, Task
from poisoncli.core.domain import Domain
from poisoncli.core.victim import Objective, Trainer


class Threat(NamedTuple):
    """What the attacker may do.

    counts: poison rows in all at each stage, rising from 0; `counts[-1]` training rows are replaced, or added.
    low, high: domain of the features, scalars, [m], or [repetitions, m] where each has a scaler of its own.
    y_low, y_high: range of real targets, [repetitions].
    integer: whether features are whole numbers.
    domain: what a poison row may be, column by column, in the data set's own units; None: `low` and `high` alone
        bind it. An attack need not make whole numbers and categories of its features: its rows are rounded.
    """

    counts: tuple[int, ...]
    low: Array
    high: Array
    y_low: Array = 0.0
    y_high: Array = 1.0
    integer: bool = False
    domain: Domain | None = None


class Units(NamedTuple):
    """A run's features are (the data set's - shift) / scale, scalars, [m] or [repetitions, m]; and so targets."""

    shift: Array = 0.0
    scale: Array = 1.0
    y_shift: Array = 0.0
    y_scale: Array = 1.0


class Problem(NamedTuple):
    """What an attack sees; arrays have a leading repetition axis.

    train: the clean training rows, [repetitions, n, ...].
    target: the rows whose loss the attack maximizes, and a learned lambda minimizes if `trusted` is None.
    objective, trainer: what the victim minimizes, and how; `objective.outer` is what the attack maximizes.
    log_lambda: the fixed values [repetitions, h], h = 1 or the number of layers, when lambda is not learned;
        where it is learned, only its shape counts.
    learn: whether log_lambda is learned, [settings]: together with the poison, or where `clean_only` [settings]
        says so on the clean rows before any poison, and then kept.
    task: what the targets are.
    settings: how many problems these are, that share all but log_lambda and whether it is learned, and what is
        `varied`. They are solved together, so that rows which they have in common are read once. log_lambda has
        repetitions * settings rows, those of a repetition in a row, and so has the `Poison`.
    varied: what else differs, [settings], of what `declared.OfAttack.joins` names: options of the attack by name,
        and `trainer.rate`. Penalties may be `mixed`, see `Objective`; weights and targets of the target rows have
        an axis [repetitions, settings, n] where they differ, and `trusted` is there then for those that learn.
    trusted: the rows whose row loss a learned lambda minimizes, where the attack looks at others or otherwise.
    units: how the rows were scaled.
    read: reads a file of poison that has the columns of the user's table: features [n, m] in their own units, and
        targets [n]; None where there is no such table.
    poison_label: which other class a poison row takes that starts as a copy of a clean one, where there are more
        than two: any (`other`), the one that the victim of the clean rows finds likeliest (`nearest`) or
        `least-likely`; or the number of the class that all poison has.
    """

    train: Data
    target: Data
    objective: Objective
    trainer: Trainer
    threat: Threat
    log_lambda: np.ndarray
    learn: np.ndarray
    task: Task = "binary"
    settings: int = 1
    clean_only: np.ndarray | bool = False
    trusted: Data | None = None
    units: Units = Units()
    read: Callable[[str], tuple[Array, np.ndarray]] | None = None
    poison_label: str | int = "other"
    varied: Mapping[str, np.ndarray] = MappingProxyType({})


class Poison(NamedTuple):
    """Crafted poison, and how far the crafting is; a stage's poison is the first `counts[stage]` rows.

    x: features [repetitions, points, m]; y: targets [repetitions, points].
    replaced: the training row [repetitions, points] that each poison row replaces; -1 where it is added.
    counts: poison rows in all at each stage [stages].
    log_lambda: hyperparameters at the end of each stage [repetitions, stages, h].
    loss: target loss before each outer step [repetitions, stages, outer steps], NaN where there was none; before
        there is poison (stage 0) that of the learner's rows.
    done, total: steps of work; done == total when the poison is complete.
    scales: what an attack with two objectives divides them by [repetitions, stages, 2], NaN where not known.
    memory: what an attack remembers between outer steps, until it is complete [repetitions, vectors, numbers].
    trail: where the first point of each stage's batch was before each outer step, features and then target
        [repetitions, stages, outer steps, m + 1]; empty where the attack does not tell.
    """

    x: Array
    y: np.ndarray
    replaced: np.ndarray
    counts: np.ndarray
    log_lambda: np.ndarray
    loss: np.ndarray
    done: int
    total: int
    scales: np.ndarray = np.empty((0, 0, 2), np.float32)
    memory: np.ndarray = np.empty((0, 0, 0), np.float32)
    trail: np.ndarray = np.empty((0, 0, 0, 0), np.float32)


class Attack(Protocol):
    """Crafts poison; a frozen dataclass of hyperparameters. What it can declare of itself: `declared.OfAttack`."""

    def craft(self, key: Array, problem: Problem, resume: Poison | None = None) -> Iterator[Poison]:
        """Yield the poison as it takes shape, complete at last; go on from `resume`, to the same bits.

        key: a JAX key. What was yielded is not changed by later steps, so that it can be saved at any moment.
        """
        ...
