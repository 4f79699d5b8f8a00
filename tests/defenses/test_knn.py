"""The k-nearest-neighbors defense: distances to the k-th neighbor of whatever class (KSL section 2.2)."""

import numpy as np
from two_classes import check, rows

from poisoncli.defenses.knn import KNN


def test_the_rows_farthest_from_their_neighbor_go():
    data = rows()
    sorted_distances = np.sort(np.linalg.norm(data.x[:, None] - data.x[None], axis=2), axis=1)  # first itself
    check(KNN(remove=0.1, k=3), sorted_distances[:, 3], data)
    check(KNN(remove=0.1, k=3, total=True), sorted_distances[:, :3].sum(axis=1), data)
