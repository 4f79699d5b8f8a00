"""Dogs against fish: features of a neural network (Koh and Liang 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from poisoncli.core.data import Dataset
from poisoncli.core.errors import MissingDataError, PoisonError
from poisoncli.core.labels import fingerprint
from poisoncli.core.method import method
from poisoncli.tables import locate

FILES = ("dogfish/dataset_dog-fish_train-900_test-300_inception_features_train.npz",
         "dogfish/dataset_dog-fish_train-900_test-300_inception_features_test.npz")  # fmt: skip


@method
class Dogfish:
    """Photographs of dogs (0) and fish (1) as 2,048 Inception features, 1,800 training and 600 test rows.

    Any real number is in the domain (KSL Appendix C). The files hold `inception_features_val` [n, 2048] and
    `labels`.
    """

    usual_model: ClassVar[str] = "svm"
    usual_attack: ClassVar[str] = "kkt"
    settings_of: ClassVar[Mapping[str, Mapping[str, Any]]] = {"svm": {"lambda": 1.10}}  # KSL Table 1
    description: ClassVar[str] = "photographs of dogs and fish as network features"
    sizes: ClassVar[None] = None
    rows: ClassVar[int] = 2400
    features: ClassVar[int] = 2048
    class_names: ClassVar[tuple[str, ...]] = ("dog", "fish")

    def load(self, data_dir: str | None = None) -> Dataset:
        """All rows. Raises `PoisonError` for missing or damaged files."""
        parts = [_read(name, data_dir) for name in FILES]
        x = np.concatenate([features for features, _ in parts])
        y = np.concatenate([labels for _, labels in parts])
        rows, first = np.arange(len(y)), len(parts[0][1])
        infinite = np.float32(np.inf)
        return Dataset(x, y, -infinite, infinite, "binary", fingerprint(x, y), parts=(rows[:first], rows[first:]))

    @classmethod
    def where(cls, data_dir: str | None = None) -> str:
        """Where the data lie, for the listing."""
        return locate.where(list(FILES), data_dir)


def _read(name: str, data_dir: str | None) -> tuple[np.ndarray, np.ndarray]:
    path = locate.find(name, data_dir)
    if path is None:
        place = locate.place(name, data_dir)
        raise MissingDataError(
            f"{place.name} was not found: put it into {place.parent}, or name its folder with --data-dir"
        )
    try:
        with np.load(path, allow_pickle=False) as arrays:
            x, y = arrays["inception_features_val"], arrays["labels"].ravel()
            if x.ndim != 2 or len(x) != len(y) or not np.all(np.isfinite(x)):
                raise ValueError("features and labels do not go together")
            return x.astype(np.float32), (y > 0).astype(np.float32)
    except (OSError, ValueError, KeyError) as error:
        raise PoisonError(f"{path} is damaged ({error}): replace it by the original") from error
