"""Linear classifiers trained to the optimum, on dense or sparse rows (liblinear, L-BFGS, and Newton in `hinge`).

Labels are -1 and 1 here. The objective is mean loss + lambda/2 |w|^2 (KSL eq. 2).
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from poisoncli.core.data import Array
from poisoncli.core.errors import FailedError
from poisoncli.training.hinge import SOLVING, fit_hinge

BIASES = ("free", "penalized")
LOSSES = ("hinge", "logistic")
_ITERATIONS = 2000  # of liblinear, which needs some hundreds, or else far more than the exact solver takes


class Linear(NamedTuple):
    """f(x) = <w, x> + b, with w [d]."""

    w: np.ndarray
    b: float


def fit(x: Array, y: Array, lambda_: float, loss: str = "hinge", bias: str = "free", tol: float = 1e-5) -> Linear:
    """argmin of the mean loss over rows x [n, d] (dense or CSR), labels y [n] in {-1, 1}, plus lambda/2 |w|^2.

    bias: `free`, or `penalized` like a weight (liblinear's default and the code of KSL's authors).
    tol: of liblinear and L-BFGS; a hinge with a free bias is always solved to a duality gap of 1e-8 (`hinge`).
    Raises `FailedError` if only one class is there, or the solver does not converge.
    """
    from sklearn.exceptions import ConvergenceWarning

    y = np.asarray(y)
    if y.min(initial=1) == y.max(initial=-1):
        raise FailedError("one class has no training rows left: remove less, or add rows of that class")
    if loss == "hinge" and bias == "free":
        return Linear(*fit_hinge(x, y, lambda_))
    solver = _solver(loss, bias, 1 / (len(y) * lambda_), tol)
    with SOLVING, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        solver.fit(x, y)
    if np.max(solver.n_iter_) >= solver.max_iter:
        if loss == "hinge":
            return Linear(*fit_hinge(x, y, lambda_, price=lambda_))
        raise FailedError("the victim's solver did not converge: raise --lambda")
    return Linear(np.asarray(solver.coef_[0], float), float(solver.intercept_[0]))


def _solver(loss: str, bias: str, strength: float, tol: float) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    if loss == "hinge":
        return LinearSVC(C=strength, loss="hinge", tol=tol, max_iter=_ITERATIONS, random_state=0)
    solver = "lbfgs" if bias == "free" else "liblinear"
    return LogisticRegression(C=strength, solver=solver, tol=tol, max_iter=100_000, random_state=0)


def descend(
    x: Array, y: Array, lambda_: float, loss: str, passes: int, bias: str = "free", seed: int = 0
) -> Linear:
    """Parameters after some passes of stochastic gradient descent, one row at a time (Bottou's step sizes).

    seed: of the order of the rows. bias: see `fit`. Raises `FailedError` if only one class is there.
    """
    from sklearn.linear_model import SGDClassifier

    if len(np.unique(y)) < 2:
        raise FailedError("one class has no training rows left: remove less, or add rows of that class")
    name = "hinge" if loss == "hinge" else "log_loss"
    learner: Any = SGDClassifier
    free = bias == "free"
    solver = learner(loss=name, alpha=lambda_, max_iter=passes, tol=None, fit_intercept=free, random_state=seed)
    if not free:  # a feature of 1 like any other
        one = np.ones((x.shape[0], 1), x.dtype)
        solver.fit(sp.hstack([x, one], format="csr") if sp.issparse(x) else np.concatenate([x, one], axis=1), y)
        return Linear(np.asarray(solver.coef_[0, :-1], float), float(solver.coef_[0, -1]))
    solver.fit(x, y)
    return Linear(np.asarray(solver.coef_[0], float), float(solver.intercept_[0]))


def margins(theta: Linear, x: Array, y: Array) -> np.ndarray:
    """y f(x) of every row [n]."""
    return np.asarray(y) * (np.asarray(x @ theta.w).ravel() + theta.b)


def row_loss(margin: np.ndarray, loss: str = "hinge") -> np.ndarray:
    """Loss of every row, from its margin [n]."""
    return np.maximum(0, 1 - margin) if loss == "hinge" else np.logaddexp(0, -margin)


def slope(margin: np.ndarray, loss: str = "hinge") -> np.ndarray:
    """Minus the derivative of the loss by the margin [n], at least 0; at the hinge's kink it is 1."""
    if loss == "hinge":
        return (margin <= 1).astype(float)
    return 0.5 * (1 - np.tanh(margin / 2))


def error(theta: Linear, x: Array, y: Array) -> float:
    """Share of rows on the wrong side, in [0, 1]; a row on the line counts as wrong."""
    return float(np.mean(margins(theta, x, y) <= 0))
