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
from poisoncli.tables import encode, poison


@method
class Given:
    """Adds the rows of a file as they are: poison of your own or of another tool; it is not optimized.

    path: ends in .npz, .mat, .csv or .h5; features `x` (or a CSR matrix as SciPy saves it) and labels `y`, or the
    names that other authors use, such as `X_poison` and `Y_poison`; in the data set's own units. Labels are 0 and 1
    or -1 and 1, or 0, 1, ... of several classes, or real targets. A column `poison` picks its rows with 1, as
    `poison export` writes it. For your own table it has the columns and labels of that table. Empty: no poison.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass", "real")
    adds: ClassVar[bool] = True
    sparse: ClassVar[bool] = True
    finish: ClassVar[str] = "keep"
    victims: ClassVar[tuple[str, ...]] = ("svm", "multisvm", "linear")

    path: str = ""

    def craft(self, key: Array, problem: Problem, resume: Poison | None = None) -> Iterator[Poison]:
        """See `Attack.craft`. Raises `PoisonError` if the file does not go with the training rows."""
        m = problem.train.x[0].shape[1]
        x: Any = sp.csr_matrix((0, m), dtype=np.float32)
        y = np.zeros(0, np.float32)
        if self.path:
            path = Path(self.path).expanduser()
            classes = 0 if problem.task == "real" else int(np.max(problem.train.y[0])) + 1
            own = problem.read is not None and path.suffix.lower() not in (".npz", ".mat")
            x, y = problem.read(str(path)) if own and problem.read else poison.read(path, classes)
        if x.shape[1] != m:
            raise PoisonError(f"{self.path} has {x.shape[1]} features and the data set {m}: give poison for it")
        repetitions, stages = len(problem.train.y), 2 if len(y) else 1
        y_shift, y_scale = (np.broadcast_to(part, repetitions)[:, None] for part in problem.units[2:])
        yield Poison(
            x=_scaled(x, problem),
            y=((y - y_shift) / y_scale).astype(np.float32),
            replaced=np.full((repetitions, len(y)), -1),
            counts=np.array([0, len(y)][:stages]),
            log_lambda=np.repeat(problem.log_lambda[:, None], stages, axis=1),
            loss=np.full((repetitions, stages, 0), np.nan, np.float32),
            done=1,
            total=1,
        )


def _scaled(x: Any, problem: Problem) -> Array:
    """The points of each repetition [repetitions, n, m], scaled as its training rows are."""
    repetitions = len(problem.train.y)
    shape = (repetitions, x.shape[1])
    shift, scale = (np.broadcast_to(part, shape) for part in problem.units[:2])
    if isinstance(problem.train.x, Sparse):
        return Sparse([encode.scaled(sp.csr_matrix(x), *own) for own in zip(shift, scale, strict=True)])
    dense = np.asarray(x.toarray() if sp.issparse(x) else x)
    return ((dense - shift[:, None]) / scale[:, None]).astype(np.float32)
