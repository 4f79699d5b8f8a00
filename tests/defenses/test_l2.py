"""The L2 defense: distances to the centroid of the class (KSL section 2.2)."""

import numpy as np
from two_classes import check, rows

from poisoncli.defenses.l2 import L2


def test_the_rows_farthest_from_their_centroid_go():
    data = rows()
    means = np.stack([data.x[data.y == label].mean(0) for label in (0, 1)])
    check(L2(remove=0.1), np.linalg.norm(data.x - means[data.y.astype(int)], axis=1), data)
