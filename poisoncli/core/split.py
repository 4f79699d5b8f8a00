"""Random splits of a data set into training, validation and test rows."""

from __future__ import annotations

import numpy as np

from poisoncli.core.data import Array, Task
from poisoncli.core.errors import PoisonError

Sizes = tuple[int, int, int]  # rows for training, validation, test


def draw(rng: np.random.Generator, y: Array, task: Task, sizes: Sizes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw disjoint training, validation and test rows at random without replacement, each part shuffled.

    y: targets [N]. For classification each part is balanced: its classes differ by at most one row.

    Returns three arrays of row indices, with the given sizes. Raises `PoisonError` if a size is below 1 or
    there are too few rows.
    """
    pools = _pools(y, task)
    counts = _counts(pools, sizes)
    pools = [rng.permutation(pool) for pool in pools]
    train, val, test = (
        rng.permutation(np.concatenate([pool[a:b] for pool, a, b in zip(pools, start, stop, strict=True)]))
        for start, stop in zip(counts.cumsum(0) - counts, counts.cumsum(0), strict=True)
    )
    return train, val, test


def largest(y: Array, task: Task) -> int:
    """How many rows the three parts can hold together: all, or the smallest class times the classes."""
    pools = _pools(y, task)
    return len(pools) * min(map(len, pools))


def default_sizes(y: Array, task: Task) -> Sizes:
    """60 % training, 10 % validation and 30 % test rows of the largest pool that can be drawn."""
    total = largest(y, task)
    n_val, n_test = max(1, total // 10), max(1, 3 * total // 10)
    return total - n_val - n_test, n_val, n_test


def _pools(y: Array, task: Task) -> list[np.ndarray]:
    """Row indices of each class, or of all rows."""
    y = np.asarray(y)
    if task == "real":
        return [np.arange(len(y))]
    return [np.flatnonzero(y == label) for label in np.unique(y)]


def _counts(pools: list[np.ndarray], sizes: Sizes) -> np.ndarray:
    """Rows [3, c] to take from each pool for each part.

    A size that c does not divide takes its odd rows from the pools with the most rows left, which succeeds
    whenever any choice does.
    """
    for size, flag in zip(sizes, ("--n-train", "--n-val", "--n-test"), strict=True):
        if size < 1:
            raise PoisonError(f"{flag} is {size}: ask for at least one row")
    left = np.array([len(pool) for pool in pools])
    rows, c = int(left.sum()), len(left)
    counts = np.empty((3, c), int)
    for part, size in enumerate(sizes):
        counts[part] = size // c
        counts[part, np.argsort(-left, kind="stable")[: size % c]] += 1
        left = left - counts[part]
    if left.min() < 0:
        most = c * int((left + counts.sum(0)).min())
        balanced = f", {most} of them balanced over {c} classes" if c > 1 else ""
        raise PoisonError(
            f"{sum(sizes)} rows were asked for, but the data have {rows}{balanced}: let --n-train, "
            f"--n-val and --n-test add up to at most {most}"
        )
    return counts
