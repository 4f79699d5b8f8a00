"""What defenses share that reject a number of rows."""

from __future__ import annotations

import numpy as np

from poisoncli.core.data import Array, Data
from poisoncli.core.defense import Clues, Learner
from poisoncli.core.errors import PoisonError


def rejected(n: int, fraction: float, told: bool, clues: Clues) -> int:
    """How many of n rows to reject: `fraction` of them, or the true number if the defense is told it.

    Raises `PoisonError` if the true number is unknown, or no row would be left.
    """
    if told and not np.isfinite(clues.poison):
        raise PoisonError("nobody knows the true fraction of poison in these data: drop -o told, give -o fraction")
    count = round(n * (clues.poison if told else fraction))
    if count >= n:
        raise PoisonError(f"rejecting {count} of {n} rows leaves none to train on: choose a smaller -o fraction")
    return count


def share(fraction: float, told: bool) -> str:
    """What a defense that rejects a number of rows was told, in words."""
    return "the true fraction" if told else f"a fraction ({fraction:g})"


def drop(score: Array, count: int) -> np.ndarray:
    """Weights [n]: 0 for the `count` rows with the highest score [n], 1 for the others; earlier rows win ties."""
    weight = np.ones(len(score), np.float32)
    weight[np.argsort(-np.asarray(score), kind="stable")[:count]] = 0
    return weight


def canonical_order(x: Array, y: Array) -> np.ndarray:
    """An order of the rows x [n, m] (dense or CSR), y [n] that depends on their values alone.

    They are sorted along a fixed random direction: what is drawn for a place in this order does not depend on
    the order in which the rows arrived.
    """
    rng = np.random.default_rng(0)
    return np.argsort(x @ rng.standard_normal(x.shape[1]) + np.asarray(y) * rng.standard_normal(), kind="stable")


def dense(x: Array) -> np.ndarray:
    """Features [n, m] as a dense array."""
    return x if isinstance(x, np.ndarray) else x.toarray()


def check_real(name: str, learner: Learner, data: Data) -> None:
    """Raise `PoisonError` where a defense of linear regression cannot work: two classes, or a constant target."""
    if learner.task != "real":
        raise PoisonError(f"defense {name} is for real targets: choose another, such as trim")
    if np.ptp(data.y) == 0:
        raise PoisonError(f"all targets are the same: defense {name} has nothing to fit, give data that vary")
