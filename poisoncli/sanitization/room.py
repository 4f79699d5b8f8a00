"""What memory an attack that searches for poison needs, estimated before the work.

Bytes: a dense row of d features is 8 d, a sparse one 12 for each of its numbers (value and column).
"""

from __future__ import annotations

from typing import NamedTuple

import scipy.sparse as sp

from poisoncli.core.data import Array
from poisoncli.tables import memory

_TRAINED = 3  # copies of the rows that a training holds: stacked, without those dropped, without those repeated
_DISTANCES = 3  # arrays of the distances between poison and all rows that the knn defense holds
_CHUNK = 2.0**30  # bytes of distances that scikit-learn holds at a time
_MOVED = 16  # arrays of the points and their feasible sets that a projection holds


class Work(NamedTuple):
    """What an attack holds at once, beside the data.

    clean: rows [n, d]; poison: rows that are added; added: those that the largest decoy adds.
    points: poison points that are moved as one array. waiting: candidates, each of all the poison, that wait to be
    judged. cores: threads that train at a time. knn: whether that defense is asked.
    """

    clean: Array
    poison: int
    added: float = 0.0
    points: int = 2
    waiting: int = 1
    cores: int = 1
    knn: bool = True


def needed(work: Work) -> float:
    """Bytes, roughly."""
    n, d = work.clean.shape
    sparse = sp.issparse(work.clean)
    row = 12.0 * work.clean.nnz / max(n, 1) if sparse else 8.0 * d  # type: ignore[union-attr]
    trained = work.cores * _TRAINED * row * (n + max(work.added, work.poison))
    distances = 8.0 * work.cores * _DISTANCES * work.poison * (n + work.poison) * work.knn
    moved = 8.0 * _MOVED * work.points * d + row * work.poison * (work.waiting + work.cores)
    first = 2 * min(8.0 * n**2, _CHUNK) * (sparse and work.knn)  # the clean rows' neighbors
    return max(first, trained + distances + moved)


def check(work: Work, cure: str) -> None:
    """Raise `PoisonError` where the work would need more memory than there is."""
    memory.check(needed(work), "the attack", cure)
