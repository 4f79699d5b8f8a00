"""Scores of the five sanitization defenses of KSL (section 2.2), for dense and sparse rows.

A defense gives every row a score from what it fitted on all rows, and drops the share `remove` of each class with
the highest scores. Labels are whatever numbers; a class is a distinct label.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from poisoncli.core.data import Array, Data
from poisoncli.core.defense import Learner, Verdict
from poisoncli.core.errors import FailedError, PoisonError
from poisoncli.core.method import option

SANITIZERS = ("l2", "slab", "loss", "svd", "knn")
_FIRST = 128  # singular vectors that are tried first
_LARGE = 10_000  # rows and columns, beyond which they are found by random projection
REMOVE: Any = option(0.05, low=0, high=0.5)
ROUNDS: Any = option(1, low=1, high=1000)


def keep(scores: np.ndarray, y: Array, remove: float) -> np.ndarray:
    """Which rows stay [n]: of each class all but the round(remove * size) with the highest scores.

    Of equal scores the later rows go. Raises `FailedError` where a class would be emptied.
    """
    y = np.asarray(y)
    sizes = dict(zip(*np.unique(y, return_counts=True), strict=True))
    return _lowest(scores, y, {label: size - round(remove * size) for label, size in sizes.items()}, remove)


def _lowest(scores: np.ndarray, y: np.ndarray, wanted: dict[float, int], remove: float) -> np.ndarray:
    """Which rows are among the wanted[label] with the lowest scores of their class [n]."""
    stays = np.ones(len(y), bool)
    for label, count in wanted.items():
        if count < 1:
            raise FailedError(
                f"removing {remove:g} would leave no row of class {label:g}: choose a smaller -o remove"
            )
        rows = np.flatnonzero(y == label)
        stays[rows[np.argsort(scores[rows], kind="stable")[count:]]] = False
    return stays


def filtered(
    data: Data, learner: Learner, remove: float, rounds: int, score: Callable[[Data], np.ndarray]
) -> Verdict:
    """What a filter makes of the rows: it drops the share `remove` of each class, in rounds of about equal size.

    score: fits the filter on some rows and scores them; in each round on those that are left. The verdict's scores
    are those of a row's last round. Raises `PoisonError` for real targets: filters work class by class.
    """
    if learner.task == "real":
        raise PoisonError(
            "the data have real targets, and this defense works on classes: choose trim or another one"
        )
    y = np.asarray(data.y)
    sizes = dict(zip(*np.unique(y, return_counts=True), strict=True))
    left, scores = np.arange(len(y)), np.empty(len(y))
    for number in range(1, rounds + 1):
        scores[left] = score(Data(data.x[left], data.y[left], data.weight[left]))
        wanted = {label: size - round(remove * size * number / rounds) for label, size in sizes.items()}
        left = left[_lowest(scores[left], y[left], wanted, remove)]
    weight = np.zeros(len(y), np.float32)
    weight[left] = 1
    return Verdict(weight, scores, {})


def centroids(x: Array, y: Array) -> tuple[np.ndarray, np.ndarray]:
    """The labels [c] in ascending order and the mean row of each class [c, d]."""
    y = np.asarray(y)
    labels = np.unique(y)
    return labels, np.stack([np.asarray(x[y == label].mean(axis=0), float).ravel() for label in labels])


def squared_norms(x: Array) -> np.ndarray:
    """|x|^2 of every row [n]."""
    if sp.issparse(x):
        return np.asarray(x.multiply(x).sum(axis=1), float).ravel()
    return np.einsum("nd,nd->n", x, x, dtype=float)


def distances(x: Array, center: np.ndarray) -> np.ndarray:
    """|x - center| of every row [n], for a center [d]."""
    squared = squared_norms(x) - 2 * np.asarray(x @ center).ravel() + center @ center
    return np.sqrt(np.maximum(squared, 0))


def l2_scores(x: Array, y: Array) -> np.ndarray:
    """Distance of every row to its class's centroid [n]."""
    labels, means = centroids(x, y)
    return _by_class(y, labels, lambda k, rows: distances(x[rows], means[k]))


def slab_scores(x: Array, y: Array) -> np.ndarray:
    """|<mu_1 - mu_-1, x - mu_y>| [n]; with more classes the largest over the other classes."""
    labels, means = centroids(x, y)
    if len(labels) < 2:
        raise PoisonError("defense slab compares classes, and all rows are of one: choose another, such as l2")

    def score(k: int, rows: np.ndarray) -> np.ndarray:
        others = np.delete(means, k, axis=0) - means[k]
        return np.abs(np.asarray(x[rows] @ others.T) - others @ means[k]).max(axis=1)

    return _by_class(y, labels, score)


def beyond(name: str, clean: Data, x: Array, y: Array, quantile: float) -> np.ndarray:
    """Which rows x [p, d] with labels y [p] have scores above the clean rows' quantile in their class [p].

    name: l2 or slab (two classes), both fitted on the clean rows.
    """
    labels, means = centroids(clean.x, clean.y)
    outside = np.zeros(len(y), bool)
    for k, label in enumerate(labels):
        own, rows = np.flatnonzero(np.asarray(clean.y) == label), np.flatnonzero(np.asarray(y) == label)
        if name == "l2":
            known, new = (distances(part, means[k]) for part in (clean.x[own], x[rows]))
        else:
            v = means[1] - means[0]
            known, new = (np.abs(np.asarray(part @ v).ravel() - means[k] @ v) for part in (clean.x[own], x[rows]))
        limit = np.quantile(known, quantile)
        outside[rows] = new > limit * (1 + 1e-5) + 1e-9
    return outside


def _by_class(y: Array, labels: np.ndarray, score: Any) -> np.ndarray:
    y = np.asarray(y)
    scores = np.empty(len(y))
    for k, label in enumerate(labels):
        rows = np.flatnonzero(y == label)
        scores[rows] = score(k, rows)
    return scores


def right_singular(x: Array, share: float = 0.05, seed: int = 0) -> np.ndarray:
    """The top k right singular vectors of x [n, d] as rows [k, d]; the least k that leaves < share of |x|_F^2.

    Of more than 10,000 rows and columns they are found by random projection, in float32.
    """
    total = squared_norms(x).sum()
    most = min(x.shape)
    find = _top if most <= _LARGE else _sketch
    k = min(most, _FIRST if most <= _LARGE else 8 * _FIRST)
    while True:
        s, v = find(x, k, seed)
        enough = np.flatnonzero(1 - np.cumsum(s**2) / total < share)
        if len(enough) or k == most:
            return v[: enough[0] + 1] if len(enough) else v
        k = min(most, 2 * k)


def _top(x: Array, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest singular values, falling, and their right singular vectors [k, d]."""
    from scipy.sparse.linalg import svds

    if min(x.shape) <= 2 * _FIRST:  # as fast, and without a limit on k
        _, s, v = np.linalg.svd(np.asarray(x.toarray() if sp.issparse(x) else x, float), full_matrices=False)
        return s[:k], v[:k]
    start = np.random.default_rng(seed).normal(size=x.shape[0])
    rows: Any = sp.csr_matrix(x, dtype=float) if sp.issparse(x) else np.asarray(x, float)
    found: Any = svds(rows, k=min(k, min(x.shape) - 1), v0=start, solver="propack")
    _, s, v = found
    order = np.argsort(-s)
    return s[order], v[order]


def _sketch(x: Array, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Like `_top`, by a random projection and one power iteration (Halko, Martinsson and Tropp 2011)."""
    rows: Any = sp.csr_matrix(x, dtype=np.float32) if sp.issparse(x) else np.asarray(x, np.float32)
    columns = rows.T.tocsr() if sp.issparse(x) else rows.T
    start = np.random.default_rng(seed).standard_normal((x.shape[1], k), dtype=np.float32)
    for _ in range(2):
        span = np.linalg.qr(np.asarray(rows @ start))[0]
        start = np.asarray(columns @ span)
    values, vectors = np.linalg.eigh(start.T @ start)
    s = np.sqrt(np.maximum(values[::-1], 1e-12))
    return s, (start @ vectors[:, ::-1] / s).T


def right_singular_near(x: Array, basis: np.ndarray, known: int, share: float = 0.05) -> np.ndarray:
    """Like `right_singular`, but searched in the span of `basis` and of the distinct rows of x after `known`.

    A fast approximation for rows that are repeated few times: basis [k, d] are the singular vectors of the first
    `known` rows.
    """
    extra = x[known:]
    extra = np.unique(np.asarray(extra.toarray() if sp.issparse(extra) else extra, float), axis=0)
    span = np.linalg.qr(np.concatenate([basis, extra]).T)[0]
    inner = np.asarray(x @ span)
    values, vectors = np.linalg.eigh(inner.T @ inner)
    left = 1 - np.cumsum(values[::-1]) / squared_norms(x).sum()
    enough = np.flatnonzero(left < share)
    k = enough[0] + 1 if len(enough) else len(values)
    return (span @ vectors[:, ::-1][:, :k]).T


def residuals(x: Array, basis: np.ndarray) -> np.ndarray:
    """|(I - B^T B) x| of every row [n], for orthonormal rows B [k, d]."""
    inner = np.asarray(x @ basis.T)
    return np.sqrt(np.maximum(squared_norms(x) - np.einsum("nk,nk->n", inner, inner), 0))


def subspace_scores(x: Array, y: Array, share: float = 0.05, centered: bool = False) -> np.ndarray:
    """Distance of every row to the span of the top right singular vectors [n].

    centered: the class means join the span and leave the rows first (the code of KSL's authors).
    """
    basis = right_singular(x, share)
    if not centered:
        return residuals(x, basis)
    labels, means = centroids(x, y)
    basis = np.linalg.qr(np.concatenate([basis, means]).T)[0].T
    shifts = means - means @ basis.T @ basis
    inner = residuals(x, basis)
    return _by_class(
        y,
        labels,
        lambda k, rows: np.sqrt(
            np.maximum(inner[rows] ** 2 - 2 * (np.asarray(x[rows] @ shifts[k]).ravel()) + shifts[k] @ shifts[k], 0)
        ),
    )


def neighbor_scores(x: Array, k: int = 5, total: bool = False) -> np.ndarray:
    """Distance of every row to its k-th nearest other row [n].

    total: instead the sum of the k smallest distances, the row itself among them (the code of KSL's authors).
    """
    if total:
        return np.sqrt(neighbors(x, k)[:, : k - 1]).sum(axis=1)
    return np.sqrt(neighbors(x, k)[:, k - 1])


def neighbors(x: Array, k: int) -> np.ndarray:
    """Squared distances of every row to its k nearest other rows, ascending [n, k]."""
    from sklearn.neighbors import NearestNeighbors

    n = x.shape[0]
    if not 1 <= k < n:
        raise FailedError(f"{k} neighbors were asked for among {n} rows: choose a smaller k")
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(_float64(x))
    return np.asarray(search.kneighbors()[0]) ** 2


def neighbor_scores_with(x: Array, near: np.ndarray) -> np.ndarray:
    """`neighbor_scores` of x [n + p, d], where `near` [n, k] holds the `neighbors` of the first n rows alone."""
    from sklearn.metrics.pairwise import euclidean_distances

    n, k = near.shape
    rows = _float64(x)
    squared = euclidean_distances(rows[n:], rows, squared=True)
    own = np.arange(squared.shape[0])
    squared[own, n + own] = np.inf
    known = np.concatenate([near, squared[:, :n].T], axis=1)
    nearest = [np.partition(part, k - 1, axis=1)[:, k - 1] for part in (known, squared)]
    return np.sqrt(np.concatenate(nearest))


def _float64(x: Array) -> Any:
    return sp.csr_matrix(x, dtype=float) if sp.issparse(x) else np.asarray(x, float)
