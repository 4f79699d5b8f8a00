"""Inverse-Hessian-vector products of linear models by conjugate gradients (Martens 2010)."""

from __future__ import annotations

import numpy as np

from poisoncli.core.types import Array

_BIAS = 1e-6  # what keeps the Hessian regular in a bias that no row bends


def solve(
    x: Array, bend: np.ndarray, lambda_: float, w: np.ndarray, b: float, bias: str, tol: float = 1e-4, most: int = 200
) -> tuple[np.ndarray, float]:
    """(H^-1 (w, b)) for H = lambda I + mean over rows of bend (x, 1)(x, 1)^T; KSL eq. 11.

    x: rows [n, d], dense or CSR; bend [n]: second derivative of each row's loss by its margin.
    The bias has lambda on the diagonal where it is `penalized`. Stops at a residual of tol times the right side,
    or after `most` steps: as a direction of ascent the result serves all the same.
    """
    used = np.flatnonzero(bend > 1e-9 * max(bend.max(initial=0.0), 1e-300))
    x, bend = x[used], bend[used] / len(bend)
    corner = lambda_ if bias == "penalized" else _BIAS

    def product(v: np.ndarray) -> np.ndarray:
        inner = bend * (np.asarray(x @ v[:-1]).ravel() + v[-1])
        return np.append(lambda_ * v[:-1] + np.asarray(x.T @ inner).ravel(), corner * v[-1] + inner.sum())

    right = np.append(w, b)
    found, residual = np.zeros_like(right), right.copy()
    direction, size = residual.copy(), residual @ residual
    stop = tol**2 * size
    for _ in range(most):
        if size <= stop:
            break
        image = product(direction)
        length = size / (direction @ image)
        found += length * direction
        residual -= length * image
        size, former = residual @ residual, size
        direction = residual + size / former * direction
    return found[:-1], float(found[-1])
