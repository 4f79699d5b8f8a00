"""The SVD defense: distances to the span of the top right singular vectors (KSL section 2.2)."""

import numpy as np
from two_classes import check, rows

from poisoncli.defenses.svd import SVD


def test_the_rows_farthest_from_the_span_go():
    data = rows()
    _, s, v = np.linalg.svd(data.x, full_matrices=False)
    k = 1 + np.flatnonzero(1 - np.cumsum(s**2) / np.sum(s**2) < 0.2)[0]
    assert 1 < k < 5
    check(SVD(remove=0.1, share=0.2), np.linalg.norm(data.x - data.x @ v[:k].T @ v[:k], axis=1), data)


def test_centered_the_class_means_are_in_the_span():
    data = rows()
    _, s, v = np.linalg.svd(data.x, full_matrices=False)
    k = 1 + np.flatnonzero(1 - np.cumsum(s**2) / np.sum(s**2) < 0.6)[0]
    assert k == 1
    means = np.stack([data.x[data.y == label].mean(0) for label in (0, 1)])
    left = data.x - means[data.y.astype(int)]
    span = np.linalg.qr(np.concatenate([v[:k], means]).T)[0]
    score = np.linalg.norm(left - left @ span @ span.T, axis=1)
    check(SVD(remove=0.1, share=0.6, centered=True), score, data)
