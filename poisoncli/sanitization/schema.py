"""What the rows of a user's table may be, as a search for poison that is added sees it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from poisoncli.core import domain
from poisoncli.core.attack import Problem
from poisoncli.core.data import Array
from poisoncli.core.domain import Domain

_ROWS = 64  # rounded at a time


class Schema(NamedTuple):
    """The domain of a repetition, in own units = x * scale + shift [m]."""

    domain: Domain
    shift: np.ndarray
    scale: np.ndarray

    def rounded(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Possible rows [n, m], drawn with mean x [n, m] where whole numbers and shares of categories allow it."""
        own = domain.rounded(self.domain, x * self.scale + self.shift, rng=rng)
        return (own - self.shift) / self.scale

    def copies(
        self, x: np.ndarray, count: int, repeat: int, rng: np.random.Generator, sparse: bool = False
    ) -> Array:
        """`count` rows drawn for the point x [m], each there `repeat` times; see `additive.rounded`."""
        kept = np.arange(count) // repeat
        parts: list[Any] = []
        for first in range(0, -(-count // repeat), _ROWS):
            size = min(_ROWS, -(-count // repeat) - first)
            part = self.rounded(np.tile(x, (size, 1)), rng)
            parts.append(sp.csr_matrix(part) if sparse else part)
        every: Any = sp.vstack(parts, format="csr") if sparse else np.concatenate(parts)
        return every[kept]

    def shares(self) -> tuple[np.ndarray, np.ndarray]:
        """What the categories of each column add up to, 1: rows [groups, m] and their products with x [groups]."""
        members = self.domain.members()
        rows = np.zeros((len(members), len(self.scale)))
        for row, places in zip(rows, members, strict=True):
            row[places] = self.scale[places]
        return rows, np.array([1 - self.shift[places].sum() for places in members])


def schema(problem: Problem, r: int) -> Schema | None:
    """That of a repetition; None where there is none, or whole numbers are all that it asks for."""
    asked = problem.threat.domain
    if asked is None or not asked.discrete or (problem.threat.integer and not np.any(asked.group >= 0)):
        return None
    shape = (len(problem.train.y), len(asked.group))
    shift, scale = (np.broadcast_to(np.asarray(part, float), shape)[r] for part in problem.units[:2])
    return Schema(asked.of(r), shift, scale)
