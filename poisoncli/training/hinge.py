"""The linear support vector machine, solved exactly: liblinear cannot leave the bias free, and may take long.

The dual is solved by an augmented Lagrangian method whose steps are semismooth Newton steps (Yan and Li 2020,
arXiv:1910.01312). Only rows on the margin bend the objective, and they are few: a step is one small linear system.
"""

from __future__ import annotations

import threading
import warnings
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from poisoncli.core.data import Array
from poisoncli.core.errors import FailedError

SOLVING = threading.Lock()  # liblinear draws from one generator, and results must not depend on threads
GAP = 1e-8  # duality gap, relative to the objective, at which the optimum is reached
_STEEPNESS = 100.0  # of the first problem: rows within 1/100 of the margin bend
_STEEPER = 10.0  # by what factor each next one is
_PROBLEMS, _STEPS = 14, 200  # at most; five problems and some six steps are usual


class _Point(NamedTuple):
    """Weights [d] and bias, and 1 - y f(x) of every row [n]."""

    w: np.ndarray
    b: float
    slack: np.ndarray


class _Problem(NamedTuple):
    """min over w and b of lambda/2 |w|^2 + price/2 b^2 + sum of share * max(0, 1 - y (x w + b)), rows x [n, d]."""

    x: Any
    y: np.ndarray
    share: np.ndarray
    lambda_: float
    price: float

    def at(self, w: np.ndarray, b: float) -> _Point:
        return _Point(w, b, 1 - self.y * (self.x @ w + b))

    def gap(self, point: _Point, multipliers: np.ndarray) -> float:
        """How much the objective at the point could fall, at most, by the dual; relative to the objective."""
        penalty = self.lambda_ / 2 * (point.w @ point.w) + self.price / 2 * point.b**2
        objective = penalty + self.share @ np.maximum(point.slack, 0)
        w, balance = self.x.T @ (self.y * multipliers) / self.lambda_, abs(self.y @ multipliers)
        of_bias = balance**2 / (2 * self.price) if self.price else balance * (1 + abs(point.b))
        dual = multipliers.sum() - self.lambda_ / 2 * (w @ w) - of_bias
        return float((objective - dual) / max(objective, 1e-300))


def fit_hinge(x: Array, y: np.ndarray, lambda_: float, price: float = 0.0) -> tuple[np.ndarray, float]:
    """argmin over w [d] and b of the mean hinge loss + lambda/2 |w|^2 + price/2 b^2; a price of 0 leaves b free.

    x: rows [n, d], dense or CSR; y: labels [n], -1 and 1. Raises `FailedError` if the relative duality gap does not
    come below `GAP`.
    """
    problem = _distinct(x, y, lambda_, price)
    point = problem.at(*_start(x, y, lambda_))
    multipliers, steepness, bending = problem.share / 2, _STEEPNESS, None
    gap = 0.1
    try:
        for _ in range(_PROBLEMS):
            stiff = steepness * problem.share
            point = _minimize(problem, point, multipliers, stiff, bending, min(1e-2, 0.1 * gap))
            raw = multipliers + stiff * point.slack
            bending, multipliers = _inside(raw, problem.share), np.clip(raw, 0, problem.share)
            gap = problem.gap(point, multipliers)
            if gap <= GAP:
                return point.w, point.b
            steepness *= _STEEPER
    except np.linalg.LinAlgError:
        pass
    raise FailedError("the victim's solver did not converge: raise --lambda, or add -o model.bias=penalized")


def _distinct(x: Array, y: np.ndarray, lambda_: float, price: float) -> _Problem:
    """The problem with equal rows merged: poison and decoys repeat theirs, and copies would all bend."""
    rows: Any = sp.csr_matrix(x, dtype=float) if sp.issparse(x) else np.asarray(x, float)
    signature = rows @ np.random.default_rng(0).normal(size=rows.shape[1]) + np.pi * y
    _, first, counts = np.unique(signature, return_index=True, return_counts=True)
    return _Problem(rows[first], np.asarray(y[first], float), counts / len(y), lambda_, price)


def _start(x: Array, y: np.ndarray, lambda_: float) -> tuple[np.ndarray, float]:
    """Weights and bias near the optimum, by a few rounds of liblinear, whose bias costs 1/100 of a weight."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    scaling: Any = 10.0
    strength = 1 / (len(y) * lambda_)
    solver: Any = LinearSVC(
        C=strength, loss="hinge", intercept_scaling=scaling, tol=1e-2, max_iter=100, random_state=0
    )
    with SOLVING, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        solver.fit(x, y)
    return np.asarray(solver.coef_[0], float), float(solver.intercept_[0])


def _inside(raw: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The rows whose multiplier is neither at 0 nor at its share: those that bend."""
    return np.flatnonzero((raw > 0) & (raw < share))


def _minimize(
    problem: _Problem,
    point: _Point,
    multipliers: np.ndarray,
    stiff: np.ndarray,
    bending: np.ndarray | None,
    tolerance: float,
) -> _Point:
    """The minimum of the augmented Lagrangian from `point`, by Newton's method with a line search.

    bending: the rows that bent in the problem before. The first step takes these to bend on, which keeps the
    sharper problem from losing them all at once; it is taken whole.
    """
    x, y, share, lambda_, price = problem
    for step in range(_STEPS):
        raw = multipliers + stiff * point.slack
        pull = np.clip(raw, 0, share)
        guessed = step == 0 and bending is not None
        if guessed:
            pull[bending] = raw[bending]
        by_w, by_b = lambda_ * point.w - x.T @ (y * pull), price * point.b - float(y @ pull)
        small = np.linalg.norm(by_w) <= tolerance * lambda_ * np.linalg.norm(point.w) and abs(by_b) <= tolerance
        if step and small:
            break
        rows = bending if guessed else _inside(raw, share)
        w, b = _newton_step(x[rows], stiff[rows], lambda_, price, by_w, by_b)
        change = -y * (x @ w + b)
        length = 1.0
        if not guessed:
            steep = lambda_ * float(point.w @ w) + price * point.b * b
            bend = lambda_ * float(w @ w) + price * b**2
            length = _length(multipliers, point.slack, change, stiff, share, steep, bend)
        point = _Point(point.w + length * w, point.b + length * b, point.slack + length * change)
        if not length:
            break
    return problem.at(point.w, point.b)  # without the round-off of the steps


def _newton_step(
    x: Any, stiff: np.ndarray, lambda_: float, price: float, by_w: np.ndarray, by_b: float
) -> tuple[np.ndarray, float]:
    """Minus the inverse Hessian times the gradient: lambda I (for the bias: price) + sum of stiff (x, 1)(x, 1)^T.

    x: the rows that bend [a, d]. The smaller of two systems is solved, of d + 1 or of a + 1 unknowns.
    """
    a, d = x.shape
    if not a:
        return -by_w / lambda_, -by_b
    if d <= a:
        dense = x.toarray() if sp.issparse(x) else x
        ones = np.concatenate([dense, np.ones((a, 1))], axis=1)
        hessian = ones.T @ (stiff[:, None] * ones)
        hessian[np.diag_indices(d)] += lambda_
        hessian[d, d] = hessian[d, d] * (1 + 1e-12) + price
        found = scipy.linalg.solve(hessian, -np.append(by_w, by_b), assume_a="pos")
        return found[:d], float(found[d])
    inner = x @ x.T
    inner = np.asarray(inner.toarray() if sp.issparse(inner) else inner)
    inner[np.diag_indices(a)] += lambda_ / stiff
    sides = np.stack([-(x @ by_w), np.ones(a)], axis=1)
    own, ones = scipy.linalg.cho_solve(scipy.linalg.cho_factor(inner, lower=True), sides).T
    b = (-by_b - own.sum()) / (lambda_ * ones.sum() + price)
    return (-by_w - x.T @ (own + lambda_ * b * ones)) / lambda_, float(b)


def _length(
    multipliers: np.ndarray,
    slack: np.ndarray,
    change: np.ndarray,
    stiff: np.ndarray,
    share: np.ndarray,
    steep: float,
    bend: float,
) -> float:
    """The length of a step at which the slope of the augmented Lagrangian is a tenth of what it was, or less.

    steep, bend: the penalty's part of the slope, and of its growth with the length. 0 where the slope is not down.
    """

    def slope(length: float) -> float:
        pull = np.clip(multipliers + stiff * (slack + length * change), 0, share)
        return steep + bend * length + float(pull @ change)

    enough = 0.1 * abs(slope(0.0))
    if slope(0.0) >= 0:
        return 0.0
    low, length = 0.0, 1.0
    while (at := slope(length)) < -enough and length < 1e9:
        low, length = length, 2 * length
    high = length
    while abs(at) > enough and high - low > 1e-12 * high:
        length = 0.5 * (low + high)
        at = slope(length)
        low, high = (length, high) if at < 0 else (low, length)
    return length
