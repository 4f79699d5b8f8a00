"""HLP's MNIST problem in its sizes: 5,000 rows, 784 features, 350 of them free, 500 validation rows.

The pixels are MNIST's where $POISON_DATA_DIR has them, and else random ones with as many zeros: time and memory
depend on the sizes and on the columns in use, not on what the pictures show.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from poisoncli.core.errors import PoisonError
from poisoncli.runs.description import Choice, Run, resolve
from poisoncli.runs.stages import prepare


class Arrays(NamedTuple):
    """Fixed rows, free rows (labels flipped), validation rows; float32."""

    x: np.ndarray
    y: np.ndarray
    free_x: np.ndarray
    free_y: np.ndarray
    val_x: np.ndarray
    val_y: np.ndarray


def load(free: int = 350) -> tuple[Arrays, str]:
    """The arrays, and where they come from."""
    try:
        split = prepare(resolve(Run(dataset=Choice("mnist")))).split
        x, y, val_x, val_y = split.train.x[0], split.train.y[0], split.val.x[0], split.val.y[0]
        source = "MNIST, 0 vs 8"
    except PoisonError:
        rng = np.random.default_rng(0)
        x, val_x = (_pictures(rng, n) for n in (5000, 500))
        y, val_y = (rng.integers(0, 2, n).astype(np.float32) for n in (5000, 500))
        source = "random pictures of MNIST's size"
    return Arrays(x[free:], y[free:], x[:free], 1 - y[:free], val_x, val_y), source


def _pictures(rng: np.random.Generator, n: int) -> np.ndarray:
    used = rng.permutation(784)[:563]  # as many as MNIST's 0 and 8 use
    x = np.zeros((n, 784), np.float32)
    x[:, used] = rng.random((n, 563)) * (rng.random((n, 563)) < 0.27)
    return x.astype(np.float32)
