"""How much an attack changed a victim: which features it relies on, how its weights spread, its error."""

from __future__ import annotations

import numpy as np


def top_features(weight: np.ndarray, k: int) -> np.ndarray:
    """The k features of the largest absolute weight [m], largest first; of equal ones the first."""
    return np.argsort(-np.abs(weight), kind="stable")[:k]


def kuncheva(one: np.ndarray, other: np.ndarray, d: int) -> float:
    """Kuncheva's consistency index of two sets of k out of d features, 0 < k < d (Kuncheva 2007; HLP V-B-3).

    (r d - k^2) / (k (d - k)) for r common features: 1 for equal sets, 0 on average for random ones, and down to
    -1 for sets that avoid each other.
    """
    k, r = len(one), len(np.intersect1d(one, other))
    if len(other) != k or not 0 < k < d:
        raise ValueError(f"the index compares two sets of one size between 0 and {d}: got {k} and {len(other)}")
    return (r * d - k**2) / (k * (d - k))


def consistency(clean: np.ndarray, poisoned: np.ndarray, k: int) -> float:
    """Kuncheva's index of the k features with the largest weights [m] of the clean and of the poisoned victim."""
    return kuncheva(top_features(clean, k), top_features(poisoned, k), len(clean))


def relative_decrease(without: np.ndarray, regularized: np.ndarray) -> np.ndarray:
    """Share of the test error without a penalty that the penalty takes away (HLP V-B-2); NaN where that is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(without > 0, (without - regularized) / without, np.nan)


def histogram(clean: np.ndarray, poisoned: np.ndarray, bins: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges [bins + 1] that span both sets of weights, and the numbers [bins] of clean and of poisoned ones."""
    both = np.concatenate([np.ravel(clean), np.ravel(poisoned)])
    edges = np.histogram_bin_edges(both.astype(float), bins)
    return edges, np.histogram(clean, edges)[0], np.histogram(poisoned, edges)[0]
