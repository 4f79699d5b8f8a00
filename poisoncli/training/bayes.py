"""Bayesian linear regression by the evidence approximation (MacKay 1992; SPR V-A)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

HYPERPRIOR = 1e-6  # shape and rate of both Gamma hyperpriors
TOLERANCE = 1e-3  # of the coefficients, summed, between two updates


class Posterior(NamedTuple):
    """Weights N(mean [m], covariance [m, m]) for features minus `center` [m], the target there, and precisions.

    beta is the precision of the noise, lambda_ that of the prior.
    """

    mean: np.ndarray
    covariance: np.ndarray
    center: np.ndarray
    level: float
    beta: float
    lambda_: float

    def predict(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation [n] of the predictive distribution for features x [n, m]."""
        x = x - self.center
        variance = 1 / self.beta + np.sum((x @ self.covariance) * x, axis=1)
        return x @ self.mean + self.level, np.sqrt(variance)


def bayesian_regression(x: np.ndarray, y: np.ndarray, rounds: int) -> Posterior:
    """Fit x [n, m], y [n] with a free intercept; at most `rounds` updates of lambda and beta.

    The updates are those of MacKay, with the hyperpriors, in the basis of the eigenvectors of the scatter matrix.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    n = len(x)
    center, level = x.mean(0), y.mean()
    eigen, vectors = np.linalg.eigh((x - center).T @ (x - center))
    eigen, basis = np.maximum(eigen, 0), vectors.T
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
    return Posterior(mean, covariance, center, float(level), float(beta), float(lambda_))
