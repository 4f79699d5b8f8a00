"""Breast cancer diagnosis from cell nuclei, embedded in scikit-learn."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from poisoncli.core.data import Dataset
from poisoncli.core.labels import fingerprint, select
from poisoncli.core.method import method


@method
class BreastCancer:
    """Breast Cancer Wisconsin, Diagnostic (Street, Wolberg and Mangasarian 1993), from scikit-learn.

    Each feature is scaled to [0, 1] by its smallest and largest value over all 569 rows, so that the box in
    which an attacker may move means the same for every feature.

    classes: 0 is malignant (212 rows), 1 is benign (357 rows); the second given is the positive class.
    """

    classes: tuple[int, ...] = (0, 1)

    description: ClassVar[str] = "breast tumors, malignant or benign, by 30 measures of their cell nuclei"
    sizes: ClassVar[tuple[int, int, int]] = (240, 80, 100)
    rows: ClassVar[int] = 569
    features: ClassVar[int] = 30
    class_names: ClassVar[tuple[str, ...]] = ("malignant", "benign")

    def load(self, data_dir: str | None = None) -> Dataset:
        """All rows; `data_dir` is not used. Raises `PoisonError` for a class that does not occur."""
        from sklearn.datasets import load_breast_cancer

        bunch = load_breast_cancer()
        rows, y, task = select(bunch.target, self.classes)  # type: ignore[attr-defined]
        raw = bunch.data  # type: ignore[attr-defined]
        scaled = (raw - raw.min(0)) / (raw.max(0) - raw.min(0))
        x = scaled[rows].astype(np.float32)
        return Dataset(x, y, 0.0, 1.0, task, fingerprint(x, y), numbers=rows)

    @classmethod
    def where(cls, data_dir: str | None = None) -> str:
        """Where the data lie, for the listing."""
        return "embedded"
