"""alfa: label flips that the clean model fits badly and the poisoned one well (Xiao et al. 2012; KSL App. D)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Array
from poisoncli.core.errors import FailedError
from poisoncli.core.method import method, option
from poisoncli.sanitization.additive import SIGNS, LinearProblem, Rows, stack
from poisoncli.sanitization.feasible_set import FeasibleSet, violation
from poisoncli.sanitization.search import SearchOptions, search
from poisoncli.training.linear import margins, row_loss

_AT_ONCE = 500  # rows that are held against the feasible set


@method
class Alfa(SearchOptions):
    """Adds flipped target rows with a high loss under the clean victim and a low one under the poisoned victim.

    Alternates between the victim, trained on the clean rows and the flips as they are, and the rows whose flips
    gain most (without their flips' loss under the clean victim, the best relaxation of Xiao et al.). Only flips
    within the feasible set count.

    rounds: of alternating, at most.
    quantile: of the clean rows' scores under L2, which the flips keep below.
    target: the rows that are flipped and to be classified wrongly: `test`, `train` or `val`.
    """

    evades: ClassVar[tuple[str, ...]] = ("l2",)  # as in KSL Appendix D
    finish: ClassVar[str] = "keep"
    copies: ClassVar[bool] = True

    rounds: int = option(default=10, low=1, high=1000)

    def craft(self, key: Array, problem: Problem, resume: Poison | None = None) -> Iterator[Poison]:
        """See `Attack.craft`."""
        return search(key, problem, resume, self, lambda linear: (1, None), self._candidate, points=_AT_ONCE)

    def _candidate(
        self, problem: LinearProblem, feasible: FeasibleSet, shared: None, number: int, rng: np.random.Generator
    ) -> Rows:
        pool = feasible_flips(problem, feasible)
        clean = row_loss(margins(problem.train(problem.clean), *pool), problem.loss)
        chosen = np.argsort(-clean, kind="stable")[: problem.size]
        for _ in range(self.rounds):
            poison = _some(pool, chosen, problem.size)
            poisoned = row_loss(margins(problem.train(stack(problem.clean, poison)), *pool), problem.loss)
            former, chosen = chosen, np.argsort(poisoned - clean, kind="stable")[: problem.size]
            if np.array_equal(np.sort(former), np.sort(chosen)):
                break
        return _some(pool, chosen, problem.size)


def _some(pool: Rows, chosen: np.ndarray, count: int) -> Rows:
    """`count` rows of the pool, repeated where fewer are chosen."""
    rows = chosen[np.arange(count) % len(chosen)]
    return Rows(pool.x[rows], pool.y[rows])


def feasible_flips(problem: LinearProblem, feasible: FeasibleSet) -> Rows:
    """The target rows with flipped labels that are in the feasible set. Raises `FailedError` if there are none."""
    x, y = problem.target.x, -problem.target.y
    good = np.zeros(len(y), bool)
    for i, sign in enumerate(SIGNS):
        for rows in np.array_split(np.flatnonzero(y == sign), max(1, len(y) // _AT_ONCE)):
            dense = x[rows].toarray() if sp.issparse(x) else np.asarray(x[rows])
            if len(rows):
                good[rows] = violation(feasible.pick(np.full(len(rows), i)), dense.astype(float)) <= 1e-9
    if not good.any():
        raise FailedError("no flipped target row is feasible: raise -o quantile, or give up a defense")
    return Rows(x[good], y[good])
