"""Poison that another tool made: read, checked and added to the clean rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp

from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Array, Sparse, Task
from poisoncli.core.errors import PoisonError
from poisoncli.core.method import method
from poisoncli.tables import poison


@method
class Given:
    """Adds the rows of a file as they are: poison of your own or of another tool; it is not optimized.

    path: ends in .npz, .mat, .csv or .h5; features `x` (or a CSR matrix as SciPy saves it) and labels `y`, 0 and 1
    or -1 and 1, or 0, 1, ... of several classes. A column `poison` picks its rows with 1, as `poison export`
    writes it. Empty: no poison at all.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")
    adds: ClassVar[bool] = True
    sparse: ClassVar[bool] = True
    victims: ClassVar[tuple[str, ...]] = ("svm", "multisvm")

    path: str = ""

    def craft(self, key: Array, problem: Problem, resume: Poison | None = None) -> Iterator[Poison]:
        """See `Attack.craft`. Raises `PoisonError` if the file does not go with the training rows."""
        first = problem.train.x[0]
        repetitions, m = len(problem.train.y), first.shape[1]
        x: Any
        if self.path:
            x, y = poison.read(Path(self.path).expanduser(), int(np.max(problem.train.y[0])) + 1)
        else:
            x, y = sp.csr_matrix((0, m), dtype=np.float32), np.zeros(0, np.float32)
        if x.shape[1] != m:
            raise PoisonError(f"{self.path} has {x.shape[1]} features and the data set {m}: give poison for it")
        sparse = isinstance(problem.train.x, Sparse)
        dense = None if sparse else np.asarray(x.toarray() if sp.issparse(x) else x, np.float32)
        yield Poison(
            x=Sparse([sp.csr_matrix(x)] * repetitions) if dense is None else np.stack([dense] * repetitions),
            y=np.tile(y, (repetitions, 1)),
            replaced=np.full((repetitions, len(y)), -1),
            counts=np.array([0, len(y)] if len(y) else [0]),
            log_lambda=np.repeat(problem.log_lambda[:, None], 2 if len(y) else 1, axis=1),
            loss=np.full((repetitions, 2 if len(y) else 1, 0), np.nan, np.float32),
            done=1,
            total=1,
        )
