"""Inverse-Hessian-vector products of linear models: direct where few rows bend, else by conjugate gradients."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, cg

from poisoncli.core.data import Array
from poisoncli.training.multiclass import MulticlassLinear

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


def solve_multiclass(
    x: Array,
    chance: np.ndarray,
    sharp: float,
    lambda_: float,
    right: MulticlassLinear,
    tol: float = 1e-4,
    most: int = 200,
) -> MulticlassLinear:
    """H^-1 right for H = lambda I + mean over rows of sharp (diag(p) - p p^T) (x) (x, 1)(x, 1)^T, biases penalized.

    x: rows [n, d], dense or CSR; chance: p of each row [n, k]. See `solve` for how, tol and most.
    """
    used = np.flatnonzero(chance.max(axis=1, initial=0.0) < 1 - 1e-9)
    bend = sharp / len(chance)
    x, chance = x[used], chance[used]
    if chance.size <= DIRECT:
        return _multiclass_woodbury(x, chance, bend, lambda_, right)
    return _multiclass_iterate(x, chance, bend, lambda_, right, tol, most)


def _multiclass_woodbury(
    x: Array, chance: np.ndarray, bend: float, lambda_: float, right: MulticlassLinear
) -> MulticlassLinear:
    """By the Woodbury identity: diag(p) - p p^T is R R^T with R = diag(s) - p s^T, s the root of p."""
    n, k = chance.shape
    root = np.sqrt(chance)
    factor = root[:, :, None] * np.eye(k) - chance[:, :, None] * root[:, None]
    rows = x @ x.T
    rows = np.asarray(rows.toarray() if sp.issparse(rows) else rows, float) + 1
    by_row = factor.transpose(0, 2, 1).reshape(n * k, k)
    inner = np.kron(rows, np.ones((k, k))) * (by_row @ by_row.T)
    inner[np.diag_indices_from(inner)] += lambda_ / bend
    moved = np.einsum("naj,na->nj", factor, np.asarray(x @ right.w.T) + right.b)
    shares = scipy.linalg.solve(inner, moved.ravel(), assume_a="pos") if n else np.zeros(0)
    pull = np.einsum("naj,nj->na", factor, shares.reshape(n, k))
    return MulticlassLinear((right.w - np.asarray(x.T @ pull).T) / lambda_, (right.b - pull.sum(axis=0)) / lambda_)


def _multiclass_iterate(
    x: Array, chance: np.ndarray, bend: float, lambda_: float, right: MulticlassLinear, tol: float, most: int
) -> MulticlassLinear:
    """By conjugate gradients (Martens 2010)."""
    k, d = right.w.shape

    def product(v: np.ndarray) -> np.ndarray:
        w, b = v[: k * d].reshape(k, d), v[k * d :]
        moved = np.asarray(x @ w.T) + b
        moved = bend * chance * (moved - np.sum(chance * moved, axis=1, keepdims=True))
        return np.concatenate([(lambda_ * w + np.asarray(x.T @ moved).T).ravel(), lambda_ * b + moved.sum(axis=0)])

    size = k * (d + 1)
    hessian = LinearOperator((size, size), matvec=product, dtype=float)  # pyright: ignore[reportCallIssue]
    found, _ = cg(hessian, np.concatenate([right.w.ravel(), right.b]), rtol=tol, atol=0.0, maxiter=most)
    return MulticlassLinear(found[: k * d].reshape(k, d), found[k * d :])
