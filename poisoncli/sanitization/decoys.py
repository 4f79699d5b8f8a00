"""Decoy parameters: what the attacker wants the victim to learn (KSL Algorithm 3 and Appendix B.2)."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from poisoncli.core.errors import FailedError
from poisoncli.core.method import option
from poisoncli.sanitization.additive import LinearProblem, Rows, stack
from poisoncli.training.cores import usable_cores
from poisoncli.training.linear import Linear, error, margins, row_loss

REPEATS: Any = option(
    (1, 2, 3, 5, 8, 12, 18, 25, 33),
    low=1,
    high=1000,
    doc="how often the flipped target rows that make a decoy are added, each tried (Algorithm 3, Appendix B.2).",
)
QUANTILES: Any = option(
    (0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.35, 0.40, 0.45, 0.50, 0.55),
    low=0,
    high=1,
    doc="shares of the target rows that are flipped for a decoy, those fitted worst, each tried.",
)


class Decoy(NamedTuple):
    """Parameters, their error on the target rows, and their mean loss on the clean rows."""

    theta: Linear
    error: float
    loss: float


def decoys(problem: LinearProblem, repeats: tuple[int, ...], quantiles: tuple[float, ...]) -> list[Decoy]:
    """The victim trained on clean rows and flipped target rows, for every repeat and quantile; see `pareto`.

    For a quantile q the share q of the target rows is flipped that the clean victim classifies worst, and added
    `repeats` times: their loss is high, and that of their flipped copies low. They come in an order that starts in
    the middle of the front, where decoys are neither harmless nor out of reach.
    """
    clean, target = problem.clean, problem.target
    margin = margins(problem.train(clean), *target)

    def decoy(q: float, r: int) -> Decoy:
        worst = np.flatnonzero(margin <= np.quantile(margin, q))
        flipped = Rows(target.x[worst], -target.y[worst])
        theta = problem.train(stack(clean, *[flipped] * r))
        loss = float(row_loss(margins(theta, *clean), problem.loss).mean())
        return Decoy(theta, error(theta, *target), loss)

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(usable_cores()) as pool:
        found = list(pool.map(lambda one: decoy(*one), itertools.product(quantiles, repeats)))
    front = pareto(found)
    if not front:
        raise FailedError("no decoy parameters were found: give more -o repeats or -o quantiles")
    return [front[i] for i in middle_out(len(front))]


def pareto(found: list[Decoy]) -> list[Decoy]:
    """The decoys that no other one beats in target error and clean loss both, by rising error."""
    kept = [a for a in found if not any(b.error > a.error and b.loss < a.loss for b in found)]
    return sorted(kept, key=lambda decoy: (decoy.error, decoy.loss))


def middle_out(count: int) -> list[int]:
    """The numbers 0 ... count - 1, starting in the middle and going outward."""
    return sorted(range(count), key=lambda i: (abs(i - count // 2), i))
