"""Handwritten digits, 8 x 8 pixels, embedded in scikit-learn."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from poisoncli.core.data import Dataset
from poisoncli.core.labels import fingerprint, select
from poisoncli.core.method import method


@method
class Digits:
    """The test part of the UCI optical digits (Alpaydin and Kaynak 1998), from scikit-learn.

    Pixels 0 ... 16 become features in [0, 1].

    classes: the digits 0 ... 9 to tell apart; empty means all ten.
    """

    classes: tuple[int, ...] = (0, 8)

    description: ClassVar[str] = "handwritten digits of 8 x 8 pixels (scikit-learn)"
    sizes: ClassVar[tuple[int, int, int]] = (200, 50, 98)
    rows: ClassVar[int] = 1797
    features: ClassVar[int] = 64
    class_names: ClassVar[tuple[str, ...]] = tuple(map(str, range(10)))

    def load(self, data_dir: str | None = None) -> Dataset:
        """All rows of the classes; `data_dir` is not used. Raises `PoisonError` for an unknown class."""
        from sklearn.datasets import load_digits

        bunch = load_digits()
        rows, y, task = select(bunch.target, self.classes)  # type: ignore[attr-defined]
        x = (bunch.data[rows] / 16).astype(np.float32)  # type: ignore[attr-defined]
        return Dataset(x, y, 0.0, 1.0, task, fingerprint(x, y), numbers=rows)

    @classmethod
    def where(cls, data_dir: str | None = None) -> str:
        """Where the data lie, for the listing."""
        return "embedded"
