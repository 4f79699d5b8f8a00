"""Linear classifiers of several classes, on dense or sparse rows (KSL section 5.7).

Labels are 0 ... k - 1 here. The loss of a row is that of Crammer and Singer (2002), max(0, 1 - f_y(x) + max of
f_j(x) over the other classes j), KSL's eq. 34, or in softmax regression the cross-entropy.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import scipy.special

from poisoncli.core.data import Array
from poisoncli.core.errors import FailedError
from poisoncli.training.hinge import SOLVING

_FIRST = 1e-8  # what AdaGrad's sums of squares start from


class MulticlassLinear(NamedTuple):
    """f(x) = w x + b, with w [k, d] and b [k]."""

    w: np.ndarray
    b: np.ndarray


def outputs(machine: MulticlassLinear, x: Array) -> np.ndarray:
    """f(x) of every row [n, k]."""
    return np.asarray(x @ machine.w.T) + machine.b


def rivals(scores: np.ndarray, y: Array) -> tuple[np.ndarray, np.ndarray]:
    """The margin of every row, f_y minus the highest f of another class [n], and that class [n]."""
    rows, y = np.arange(len(scores)), np.asarray(y, int)
    others = np.array(scores)
    others[rows, y] = -np.inf
    rival = others.argmax(axis=1)
    return scores[rows, y] - others[rows, rival], rival


def gradient(machine: MulticlassLinear, x: Array, y: Array) -> MulticlassLinear:
    """Of the mean loss over rows x [n, d] with labels y [n]."""
    y = np.asarray(y, int)
    margin, rival = rivals(outputs(machine, x), y)
    bad = np.flatnonzero(margin < 1)
    pull = np.zeros((len(y), len(machine.b)), x.dtype)
    pull[bad, rival[bad]] = 1
    pull[bad, y[bad]] = -1
    return MulticlassLinear(np.asarray((x.T @ pull).T) / len(y), pull.sum(axis=0) / len(y))


def descend(x: Array, y: Array, k: int, rate: float, batch: int, passes: int, seed: int = 0) -> MulticlassLinear:
    """Parameters after some passes of AdaGrad (Duchi et al. 2010) over the rows in random order, from zero.

    Nothing is penalized: stopping early regularizes (KSL Table 1). Raises `FailedError` if a class has no row.
    """
    y = np.asarray(y, int)
    _check_classes(y, k)
    rows: Any = sp.csr_matrix(x) if sp.issparse(x) else np.asarray(x)
    kind = rows.dtype if rows.dtype.kind == "f" else np.dtype(float)
    machine = MulticlassLinear(np.zeros((k, x.shape[1]), kind), np.zeros(k, kind))
    seen = MulticlassLinear(np.full_like(machine.w, _FIRST), np.full_like(machine.b, _FIRST))
    rng = np.random.default_rng(seed)
    for _ in range(passes):
        order = rng.permutation(len(y))
        for first in range(0, len(y), batch):
            some = order[first : first + batch]
            for value, total, by in zip(machine, seen, gradient(machine, rows[some], y[some]), strict=True):
                total += by**2
                value -= (rate * by / np.sqrt(total)).astype(kind)
    return machine


def fit(x: Array, y: Array, k: int, lambda_: float, tol: float = 1e-4) -> MulticlassLinear:
    """The optimum of the mean loss + lambda/2 (|w|^2 + |b|^2), by liblinear.

    Raises `FailedError` if a class has no row, or the solver does not converge.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    y = np.asarray(y, int)
    _check_classes(y, k)
    solver: Any = LinearSVC(
        C=1 / (len(y) * lambda_), multi_class="crammer_singer", tol=tol, max_iter=20_000, random_state=0
    )
    with SOLVING, warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            solver.fit(x, y)
        except ConvergenceWarning:
            raise FailedError("the victim's solver did not converge: raise --lambda") from None
    return MulticlassLinear(np.asarray(solver.coef_, float), np.asarray(solver.intercept_, float))


def fit_softmax(x: Array, y: Array, k: int, lambda_: float, tol: float = 1e-6) -> MulticlassLinear:
    """The optimum of the mean cross-entropy + lambda/2 (|w|^2 + |b|^2), by L-BFGS.

    tol: of the largest slope. Raises `FailedError` if a class has no row, or the solver does not converge.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    y = np.asarray(y, int)
    _check_classes(y, k)
    ones = np.ones((x.shape[0], 1))
    rows: Any = sp.hstack([x, ones], format="csr", dtype=float) if sp.issparse(x) else np.hstack([x, ones])
    half = 2 if k == 2 else 1  # there scikit-learn has one output, f_1 - f_0, whose square is twice as large
    solver: Any = LogisticRegression(C=half / (len(y) * lambda_), fit_intercept=False, tol=tol, max_iter=10_000)
    with SOLVING, warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            solver.fit(rows, y)
        except ConvergenceWarning:
            raise FailedError("the victim's solver did not converge: raise --lambda") from None
    found = np.asarray(solver.coef_, float)
    found = np.concatenate([-found, found]) / 2 if k == 2 else found
    return MulticlassLinear(found[:, :-1], found[:, -1])


def row_losses(scores: np.ndarray, y: Array, loss: str) -> np.ndarray:
    """The `hinge` or `logistic` (softmax) loss [n] of rows with outputs `scores` [n, k] and labels y [n]."""
    if loss == "hinge":
        return np.maximum(0, 1 - rivals(scores, y)[0])
    own = scores[np.arange(len(scores)), np.asarray(y, int)]
    return scipy.special.logsumexp(scores, axis=1) - own


def _check_classes(y: np.ndarray, k: int) -> None:
    if len(np.unique(y)) < k:
        raise FailedError("a class has no training rows left: remove less, or add rows of that class")
