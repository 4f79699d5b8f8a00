"""Where attacks start: copies of the training rows that they replace."""

from __future__ import annotations

import jax
import numpy as np

from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Array
from poisoncli.core.random import generator


def copies(key: Array, problem: Problem, outer_steps: int) -> Poison:
    """Rows drawn without replacement, as they are (SPR Appendix C, `initDp`).

    Returns a `Poison` with none of its steps done and room for `outer_steps` target losses a stage.
    """
    x, y = np.asarray(problem.train.x), np.asarray(problem.train.y)
    repetitions, n = y.shape
    counts = np.asarray(problem.threat.counts)
    index = np.stack(
        [generator(jax.random.fold_in(key, r)).permutation(n)[: counts[-1]] for r in range(repetitions)]
    )
    stages = len(counts)
    return Poison(
        x=np.take_along_axis(x, index[:, :, None], axis=1),
        y=np.take_along_axis(y, index, axis=1),
        replaced=index,
        counts=counts,
        log_lambda=np.repeat(problem.log_lambda[:, None], stages, axis=1).astype(x.dtype),
        loss=np.full((len(problem.log_lambda), stages, outer_steps), np.nan, x.dtype),
        done=0,
        total=0,
    )


def flipped_copies(key: Array, problem: Problem, outer_steps: int) -> Poison:
    """`copies` with the other label (HLP III-C), or with real targets at the bound farther from them."""
    poison = copies(key, problem, outer_steps)
    if problem.task != "real":
        return poison._replace(y=1 - poison.y)
    return poison._replace(y=opposite(poison.y, problem))


def opposite(y: np.ndarray, problem: Problem) -> np.ndarray:
    """For real targets y [repetitions, points]: of the two bounds of the domain, the one farther away."""
    low, high = (np.asarray(bound)[:, None] for bound in (problem.threat.y_low, problem.threat.y_high))
    return np.where(y - low > high - y, low, high).astype(y.dtype)


def other_class(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
    """For each of `labels` [k] a random row of x [n, m] that has the other label, none twice if there are enough.

    Labels are 0 and 1. Returns [k, m], or None where x lacks a class that is needed.
    """
    chosen = np.empty(len(labels), int)
    for label in np.unique(labels):
        others = rng.permutation(np.flatnonzero(y != label))
        if not len(others):
            return None
        chosen[labels == label] = np.resize(others, np.sum(labels == label))
    return x[chosen]
