"""Two Gaussian clouds in the plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from poisoncli.core.data import Dataset
from poisoncli.core.declared import as_tabled
from poisoncli.core.errors import PoisonError
from poisoncli.core.labels import fingerprint
from poisoncli.core.method import method


@method
class Gaussians:
    """Two bivariate normal distributions with means (-3, 0) and (3, 0) and covariance diag(2.5, 1.5).

    The synthetic example of "Hyperparameter Learning under Data Poisoning", Appendix A.
    The pool is fixed by `seed`; rows outside the attacker's box [-9.5, 9.5]^2 (four standard deviations away,
    two in a hundred thousand) are moved onto its edge.

    seed: of the pool of 5,000 rows for each class, at least 0.
    """

    seed: int = 0

    settings_of: ClassVar[Mapping[str, Mapping[str, Any]]] = {  # HLP Appendix A
        "logistic": as_tabled(50, 0.400, 0.20, 100),
    }
    description: ClassVar[str] = "two Gaussian clouds in the plane, for pictures"
    sizes: ClassVar[tuple[int, int, int]] = (32, 64, 1000)
    rows: ClassVar[int] = 10_000
    features: ClassVar[int] = 2
    class_names: ClassVar[tuple[str, ...]] = ("left", "right")

    def load(self, data_dir: str | None = None) -> Dataset:
        """The pool of 10,000 rows; `data_dir` is not used. Raises `PoisonError` for a negative seed."""
        if self.seed < 0:
            raise PoisonError(f"the seed of gaussians is {self.seed}: give 0 or more")
        rng = np.random.default_rng(self.seed)
        y = np.repeat(np.array([0, 1], np.float32), self.rows // 2)
        mean = np.stack([6 * y - 3, np.zeros_like(y)], axis=1)
        x = mean + np.sqrt([2.5, 1.5]) * rng.standard_normal((self.rows, 2))
        x = x.clip(-9.5, 9.5).astype(np.float32)
        return Dataset(x, y, -9.5, 9.5, "binary", fingerprint(x, y))

    @classmethod
    def where(cls, data_dir: str | None = None) -> str:
        """Where the data lie, for the listing."""
        return "generated"
