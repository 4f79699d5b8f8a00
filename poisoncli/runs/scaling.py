"""Features and targets in the units of the clean training rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from poisoncli.core.data import Data, Dataset, Sparse
from poisoncli.core.errors import PoisonError
from poisoncli.runs.description import Run
from poisoncli.tables.encode import Encoder, scaled, stacked


def scaler(run: Run, dataset: Dataset, train: np.ndarray, encoder: Encoder | None = None) -> dict[str, np.ndarray]:
    """Shift and scale of features and targets, in the data set's units, by the clean training rows `train`.

    With real targets both are standardized (SPR Appendix E), and so are the features of a user's own table. What is
    constant is divided by 1. The precision is that of the data set. train: [repetitions, n].
    """
    found: dict[str, Any] = {"shift": 0, "scale": 1, "y_shift": 0, "y_scale": 1}
    if dataset.task == "real":
        y = dataset.y[train].astype(float)
        if np.any(y.max(1) == y.min(1)):
            raise PoisonError(
                f"the training targets of {run.dataset.name} are all the same: ask for more --n-train"
            )
        found.update(y_shift=y.mean(1), y_scale=y.std(1))
    if encoder is not None:
        found.update(encoder.scaler(train))
    elif dataset.task == "real" and not dataset.sparse:
        x = dataset.x[train].astype(float)
        found.update(shift=x.mean(1), scale=nonzero(x.std(1), np.abs(x).max(1)))
    precision = np.float64 if encoder else np.result_type(dataset.x.dtype, np.float32)
    return {name: np.asarray(value, precision) for name, value in found.items()}


def nonzero(scale: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """`scale` with 1 where it is nothing but the rounding of a constant column with values up to `largest`."""
    return np.where(scale > 1e-12 * largest, scale, 1)


def take(dataset: Dataset, rows: np.ndarray, scaler: dict[str, np.ndarray], encoder: Encoder | None = None) -> Data:
    """The rows [repetitions, n] of a data set, encoded and scaled; sparse features of others stay as they are."""
    y: Any = np.asarray(dataset.y)[rows]
    if dataset.task == "real" or not dataset.sparse:
        y = ((dataset.y[rows].T - scaler["y_shift"]) / scaler["y_scale"]).T
    y, weight = np.ascontiguousarray(y, np.float32), np.ones(rows.shape, np.float32)
    if encoder is not None:
        shift, scale = (np.broadcast_to(scaler[name], (len(rows), encoder.m)) for name in ("shift", "scale"))
        parts = [scaled(encoder.take(own, r), shift[r], scale[r]) for r, own in enumerate(rows)]
        return Data(stacked(parts), y, weight)
    if dataset.sparse:
        sparse: Any = Sparse(dataset.x[chosen] for chosen in rows)
        return Data(sparse, y, weight)
    shift, scale = (np.asarray(scaler[name]) for name in ("shift", "scale"))
    if shift.ndim == 2:
        shift, scale = shift[:, None], scale[:, None]
    x = ((dataset.x[rows] - shift) / scale).astype(np.float32)
    return Data(x, y, weight)
