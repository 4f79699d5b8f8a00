"""Rows that two classes of normal draws make, and the attacker's problem on them."""

import numpy as np

from poisoncli.sanitization.additive import LinearProblem, Rows


def planes(n=200, d=6, seed=0):
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(n) < 0.4, 1.0, -1.0)
    x = rng.normal(size=(n, d)) + 0.9 * y[:, None]
    return Rows(x, y)


def linear_problem(loss="hinge", bias="penalized", integer=False, count=12):
    clean, target = planes(), planes(seed=1)
    if integer:
        clean, target = (Rows(np.rint(np.exp(0.5 * part.x)), part.y) for part in (clean, target))
    low, high = (0.0, np.inf) if integer else (-np.inf, np.inf)
    return LinearProblem(
        clean, target, count, 0.05, loss, bias, low, high, integer, defenses=("loss", "l2", "slab")
    )


def several(n=240, d=5, k=3, seed=0):
    """Rows of k classes, labels 0 ... k - 1."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    return rng.normal(size=(n, d)) + 1.5 * np.eye(k, d)[y], y
