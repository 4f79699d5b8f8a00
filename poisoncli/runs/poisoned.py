"""The training rows with the poison in its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from poisoncli.core.attack import Poison
from poisoncli.core.data import Data, Sparse


def poisoned(train: Data, poison: Poison, stage: int) -> tuple[Data, np.ndarray, np.ndarray]:
    """The training rows of a stage: data, which rows are poison [repetitions, n], and where each came from.

    The last array holds for a poison row its number among the poison rows, and -1 for a clean one.
    """
    count = int(poison.counts[stage])
    if isinstance(train.x, Sparse) or (poison.replaced.size and poison.replaced[0, 0] < 0):
        return _with_added(train, poison, count)
    index = poison.replaced[:, :count]
    x, y = np.array(train.x), np.array(train.y)
    number = np.full(y.shape, -1)
    np.put_along_axis(x, index[:, :, None], poison.x[:, :count], axis=1)
    np.put_along_axis(y, index, poison.y[:, :count], axis=1)
    np.put_along_axis(number, index, np.broadcast_to(np.arange(count), index.shape), axis=1)
    return Data(x, y, train.weight), number >= 0, number


def _with_added(train: Data, poison: Poison, count: int) -> tuple[Data, np.ndarray, np.ndarray]:
    """The training rows followed by all poison rows, of which the first `count` have weight 1, the others 0."""
    repetitions, points = poison.y.shape
    clean = train.y.shape[1]
    if isinstance(train.x, Sparse):
        parts = zip(train.x, poison.x, strict=True)
        x: Any = Sparse(sp.vstack([a, sp.csr_matrix(b)], format="csr") for a, b in parts)
    else:
        x = np.concatenate([train.x, poison.x], axis=1)
    y = np.concatenate([train.y, poison.y], axis=1)
    weight = np.concatenate([train.weight, np.ones((repetitions, points), np.float32)], axis=1)
    weight[:, clean + count :] = 0
    number = np.concatenate(
        [np.full((repetitions, clean), -1), np.tile(np.arange(points), (repetitions, 1))], axis=1
    )
    number[:, clean + count :] = -1
    return Data(x, y, weight), number >= 0, number
