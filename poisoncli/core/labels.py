"""From class labels to targets, and a fingerprint of the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from poisoncli.core.data import Array, Task
from poisoncli.core.errors import PoisonError


def select(labels: Array, classes: Sequence[Hashable] = ()) -> tuple[np.ndarray, np.ndarray, Task]:
    """Choose the rows of some classes and number the classes in the order given.

    labels: [N], integers or strings.
    classes: at least two different labels; empty means all that occur, in sorted order.

    Returns the chosen rows' indices [n] in ascending order, their targets [n] (float32; 0 ... c-1), and the
    task: "binary" for two classes (1 is the second), else "multiclass". Raises `PoisonError` if a class does
    not occur or there are fewer than two.
    """
    labels = np.asarray(labels)
    present = np.unique(labels).tolist()
    wanted = list(classes) or present
    missing = [name for name in wanted if name not in present]
    if missing:
        raise PoisonError(f"the data have no class {missing[0]}: choose classes from {_listed(present)}")
    if len(set(wanted)) < max(2, len(wanted)):
        raise PoisonError(
            f"the classes {_listed(wanted)} are not two or more different ones: take {_listed(present)}"
        )
    targets = np.full(len(labels), -1.0, np.float32)
    for number, name in enumerate(wanted):
        targets[labels == name] = number
    rows = np.flatnonzero(targets >= 0)
    return rows, targets[rows], "binary" if len(wanted) == 2 else "multiclass"


def fingerprint(x: np.ndarray, y: np.ndarray) -> str:
    """SHA-256 (hex) of features [N, m] and targets [N], with their shapes and types."""
    digest = hashlib.sha256()
    for array in (x, y):
        digest.update(f"{array.shape}{array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def fingerprint_sparse(x: Any, y: np.ndarray) -> str:
    """Like `fingerprint`, for a CSR matrix [N, m]."""
    digest = hashlib.sha256()
    for array in (np.array(x.shape), x.data, x.indices.astype(np.int64), x.indptr.astype(np.int64), y):
        digest.update(f"{array.shape}{array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _listed(names: Sequence[Hashable], most: int = 20) -> str:
    shown = ", ".join(str(name) for name in names[:most])
    return shown + (", ..." if len(names) > most else "")
