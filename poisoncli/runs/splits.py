"""Which rows of a data set are for training, validation and test, in every repetition."""

from __future__ import annotations

import numpy as np

from poisoncli.core import own_split
from poisoncli.core.data import Dataset
from poisoncli.core.errors import PoisonError
from poisoncli.core.split import default_sizes, draw
from poisoncli.runs import defaults
from poisoncli.runs.description import Run

PARTS = ("train", "val", "test")
_MOST_USUAL = 5000  # training rows of several classes where none are asked for


def rows_of(run: Run, dataset: Dataset, others: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers of the rows of each part [repetitions, n], within `others`, by the run's seed and sizes.

    As the user says where he parts the data; else as many of each class, or of the data set's own parts.
    """
    return _own_rows(run, dataset, others) if dataset.division else _drawn_rows(run, dataset, others)


def _drawn_rows(run: Run, dataset: Dataset, others: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of each part [repetitions, n]: as many of each class, or of the data set's own parts."""
    sizes = _sizes(run, dataset, others)
    drawn = [_draw(np.random.default_rng((run.seed, r)), dataset, others, sizes) for r in range(run.repetitions)]
    return {name: others[np.stack(part)] for name, part in zip(PARTS, zip(*drawn, strict=True), strict=True)}


def _own_rows(run: Run, dataset: Dataset, others: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of each part [repetitions, n] of a user's own data, parted as he says."""
    assert dataset.division is not None
    asked = (run.n_train, run.n_val, run.n_test)
    rngs = [np.random.default_rng((run.seed, r)) for r in range(run.repetitions)]
    drawn = own_split.same_sizes(
        [own_split.part(rng, dataset.y, dataset.task, asked, dataset.division, others) for rng in rngs]
    )
    return {name: np.stack(part) for name, part in zip(PARTS, zip(*drawn, strict=True), strict=True)}


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
