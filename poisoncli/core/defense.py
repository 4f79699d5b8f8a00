"""What a defense sees of the victim, what it may be told, and what it makes of the rows."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np

from poisoncli.core.data import Array, Data, Task
from poisoncli.core.victim import Objective, Trainer


class Learner(NamedTuple):
    """The victim as a defense may use it: what it minimizes, how, and log_lambda [h]; and what the targets are.

    lambda_: the coefficient of the penalty in the mean loss.
    """

    objective: Objective
    trainer: Trainer
    log_lambda: Array
    task: Task
    lambda_: float = math.nan


class Clues(NamedTuple):
    """What a defense can be told beyond the training rows; `Defense.knows` says what of it is used.

    trusted: clean rows that are not for training (none: zero rows).
    poison: the true share of poison among the training rows, in [0, 1]; NaN if unknown.
    """

    trusted: Data
    poison: float


class Verdict(NamedTuple):
    """What a defense makes of n training rows, in their order.

    weight: in [0, 1] for each row [n]; 0 removes it, between them it counts less.
    score: suspicion [n], higher is worse; NaN where the defense has none.
    why: further columns [n] that explain the score, by name.
    """

    weight: np.ndarray
    score: np.ndarray
    why: dict[str, np.ndarray]


class Defense(Protocol):
    """Weighs training rows; a frozen dataclass of hyperparameters. It can declare what `declared.OfDefense` has."""

    def knows(self) -> str:
        """What it is told beyond the training rows, for the tables: such as `nothing` or `the true fraction`."""
        ...

    def weigh(self, key: Array, data: Data, learner: Learner, clues: Clues) -> Verdict:
        """Weigh the rows of `data` (x [n, m] dense or SciPy CSR, NumPy arrays) of one repetition and stage.

        Raises `PoisonError` if it cannot work with these rows, this model or these clues.
        """
        ...
