"""What was done to a user's rows, in words."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from poisoncli.core.data import Dataset
from poisoncli.tables.encode import Encoder
from poisoncli.tables.table import kinds_of
from poisoncli.training.minibatches import members

LOG = logging.getLogger(__name__)
_NAMES = {"train": "training", "val": "validation", "test": "tests"}
_MOST = 10  # classes that are listed


def what_was_done(dataset: Dataset, rows: dict[str, np.ndarray], encoder: Encoder | None) -> None:
    """Say how the rows were parted and encoded, and what may make the figures look too good."""
    LOG.info("%s", parted(dataset, rows))
    if encoder is None:
        return
    LOG.info("%s", encoded(encoder))
    unknown = encoder.unknown(rows["test"][0], 0)
    if unknown:
        listed = ", ".join(f"{name} ({count})" for name, count in unknown.items())
        LOG.warning("test rows have categories that no training row has, in %s: they count as unknown", listed)
    again = repeated(encoder, dataset.y, rows["train"][0], rows["test"][0])
    if again:
        LOG.warning(
            "%d of %d test rows stand among the training rows too, target included: the test error is too good for "
            "new rows",
            *(again, rows["test"].shape[1]),
        )


def small_batches(dataset: Dataset, train: np.ndarray, size: int) -> None:
    """Say where mini-batches of `size` rows are too small for each to hold a row of every class."""
    if not size or dataset.task == "real":
        return
    batches = members(len(train), size)
    y = np.where(batches < 0, -1, dataset.y[train][batches])
    names = dataset.class_names or tuple(map(str, range(int(dataset.y.max()) + 1)))
    without = {name: int(np.sum(~(y == number).any(axis=1))) for number, name in enumerate(names)}
    name = max(without, key=lambda one: without[one])
    if without[name]:
        LOG.warning(
            "%d of %d mini-batches hold no row of class %s: raise -o trainer.size",
            *(without[name], len(batches), name),
        )


def parted(dataset: Dataset, rows: dict[str, np.ndarray]) -> str:
    """How many rows each part has, and of which classes."""
    parts = [
        f"{chosen.shape[1]:,} for {_NAMES[name]}{_classes(dataset, chosen[0])}" for name, chosen in rows.items()
    ]
    used = sum(chosen.shape[1] for chosen in rows.values())
    rest = f"; {len(dataset.y) - used:,} are left out" if used < len(dataset.y) else ""
    return f"{len(dataset.y):,} rows: {', '.join(parts)}{rest}"


def _classes(dataset: Dataset, rows: np.ndarray) -> str:
    names = dataset.class_names
    if not names or len(names) > _MOST:
        return ""
    counts = np.bincount(dataset.y[rows].astype(int), minlength=len(names))
    return f" ({', '.join(f'{count:,} {name}' for name, count in zip(names, counts, strict=True))})"


def encoded(encoder: Encoder) -> str:
    """What became of the columns."""
    kinds = kinds_of(encoder.table.columns)
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    missing = sum(column.missing for column in encoder.table.columns)
    imputed = f"; {missing:,} missing cells imputed" if missing else ""
    how = "scaled to [-1, 1]" if encoder.sparse else "standardized by the training rows"
    numbers = f"; numbers {how}" if any(kind in kinds for kind in ("number", "whole number", "date")) else ""
    return f"columns ({listed}) became {encoder.m:,} features{imputed}{numbers}"


def repeated(encoder: Encoder, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> int:
    """How many test rows are equal to a training row, target included."""
    import pandas.util

    util: Any = pandas.util
    names = [column.name for column in encoder.table.columns]
    hashes = util.hash_pandas_object(encoder.table.frame[names], index=False).to_numpy()
    hashes = hashes ^ util.hash_array(np.asarray(y, float))
    return int(np.isin(hashes[test], hashes[train]).sum())
