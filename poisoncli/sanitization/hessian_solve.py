"""Inverse-Hessian-vector products of linear models: direct where few rows bend, else by conjugate gradients."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, cg

from poisoncli.core.data import Array

DIRECT = 1500  # rows that bend, up to which a dense system is solved
_BIAS = 1e-6  # what keeps the Hessian regular in a bias that no row bends


def solve(
    x: Array,
    bend: np.ndarray,
    lambda_: float,
    w: np.ndarray,
    b: float,
    bias: str,
    tol: float = 1e-4,
    most: int = 200,
) -> tuple[np.ndarray, float]:
    """(H^-1 (w, b)) for H = lambda I + mean over rows of bend (x, 1)(x, 1)^T; KSL eq. 11.

    x: rows [n, d], dense or CSR; bend [n]: second derivative of each row's loss by its margin.
    The bias has lambda on the diagonal where it is `penalized`. Conjugate gradients stop at a
    residual of tol times the right side,
    or after `most` steps: as a direction of ascent the result serves all the same.
    """
    used = np.flatnonzero(bend > 1e-9 * max(bend.max(initial=0.0), 1e-300))
    x, bend = x[used], bend[used] / len(bend)
    corner = lambda_ if bias == "penalized" else _BIAS
    if len(used) <= DIRECT:
        return _woodbury(x, bend, lambda_, corner, w, b)
    return _iterate(x, bend, lambda_, corner, np.append(w, b), tol, most)


def _woodbury(
    x: Array, bend: np.ndarray, lambda_: float, corner: float, w: np.ndarray, b: float
) -> tuple[np.ndarray, float]:
    """By the Woodbury identity, exact but for round-off: a system of as many unknowns as there are rows."""
    inner = x @ x.T
    inner = np.asarray(inner.toarray() if sp.issparse(inner) else inner, float) / lambda_ + 1 / corner
    inner[np.diag_indices_from(inner)] += 1 / bend
    right = np.asarray(x @ w).ravel() / lambda_ + b / corner
    shares = scipy.linalg.solve(inner, right, assume_a="pos") if len(bend) else np.zeros(0)
    return (w - np.asarray(x.T @ shares).ravel()) / lambda_, float((b - shares.sum()) / corner)


def _iterate(
    x: Array, bend: np.ndarray, lambda_: float, corner: float, right: np.ndarray, tol: float, most: int
) -> tuple[np.ndarray, float]:
    """By conjugate gradients (Martens 2010)."""

    def product(v: np.ndarray) -> np.ndarray:
        inner = bend * (np.asarray(x @ v[:-1]).ravel() + v[-1])
        return np.append(lambda_ * v[:-1] + np.asarray(x.T @ inner).ravel(), corner * v[-1] + inner.sum())

    hessian = LinearOperator((len(right), len(right)), matvec=product, dtype=float)  # pyright: ignore[reportCallIssue]
    found, _ = cg(hessian, right, rtol=tol, atol=0.0, maxiter=most)
    return found[:-1], float(found[-1])
