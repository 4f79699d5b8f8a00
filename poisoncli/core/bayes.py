"""Bayesian linear regression by the evidence approximation (MacKay 1992; SPR V-A)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

HYPERPRIOR = 1e-6  # shape and rate of both Gamma hyperpriors
TOLERANCE = 1e-3  # of the coefficients, summed, between two updates


class Posterior(NamedTuple):
    """Weights N(mean [m], covariance [m, m]), the intercept, and the noise precision beta and prior's lambda."""

    mean: np.ndarray
    covariance: np.ndarray
    intercept: float
    beta: float
    lambda_: float

    def predict(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation [n] of the predictive distribution for features x [n, m]."""
        variance = 1 / self.beta + np.einsum("ij,jk,ik->i", x, self.covariance, x, optimize=True)
        return x @ self.mean + self.intercept, np.sqrt(variance)


def bayesian_regression(x: np.ndarray, y: np.ndarray, rounds: int) -> Posterior:
    """Fit x [n, m], y [n] with a free intercept; at most `rounds` updates of lambda and beta.

    The updates are those of MacKay, with the hyperpriors, in the basis of the singular vectors of x.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    n, m = x.shape
    center, level = x.mean(0), y.mean()
    _, values, basis = np.linalg.svd(x - center, full_matrices=m > n)
    eigen = np.zeros(len(basis))
    eigen[: len(values)] = values**2
    projected = basis @ ((x - center).T @ (y - level))
    squares = float(np.sum((y - level) ** 2))
    beta, lambda_ = 1 / (np.var(y) + np.finfo(float).eps), 1.0
    before = None
    for _ in range(rounds):
        coefficients = projected / (eigen + lambda_ / beta)
        error = max(squares - 2 * coefficients @ projected + coefficients**2 @ eigen, 0.0)
        gamma = np.sum(beta * eigen / (lambda_ + beta * eigen))
        lambda_ = (gamma + 2 * HYPERPRIOR) / (np.sum(coefficients**2) + 2 * HYPERPRIOR)
        beta = (n - gamma + 2 * HYPERPRIOR) / (error + 2 * HYPERPRIOR)
        mean = basis.T @ coefficients
        if before is not None and np.sum(np.abs(before - mean)) < TOLERANCE:
            break
        before = mean
    mean = basis.T @ (projected / (eigen + lambda_ / beta))
    covariance = (basis.T / (beta * eigen + lambda_)) @ basis
    return Posterior(mean, covariance, float(level - center @ mean), float(beta), float(lambda_))
