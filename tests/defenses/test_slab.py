"""The slab defense: distances along the line between the centroids (KSL section 2.2)."""

import numpy as np
from two_classes import check, rows

from poisoncli.defenses.slab import Slab


def test_the_rows_farthest_along_the_line_between_the_centroids_go():
    data = rows()
    means = np.stack([data.x[data.y == label].mean(0) for label in (0, 1)])
    check(Slab(remove=0.1), np.abs((data.x - means[data.y.astype(int)]) @ (means[1] - means[0])), data)
