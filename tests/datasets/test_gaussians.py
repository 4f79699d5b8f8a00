"""Two Gaussian clouds with the moments of the paper."""

import numpy as np
import pytest

from poisoncli.core.errors import PoisonError
from poisoncli.datasets.gaussians import Gaussians


def test_gaussians_have_the_moments_of_the_paper():
    data = Gaussians().load(None)
    for label, center in ((0, -3), (1, 3)):
        cloud = data.x[data.y == label]
        assert cloud.mean(0) == pytest.approx([center, 0], abs=0.1)
        assert np.cov(cloud.T) == pytest.approx(np.diag([2.5, 1.5]), abs=0.15)


def test_gaussians_depend_on_the_seed():
    assert Gaussians(seed=1).load(None).sha256 != Gaussians().load(None).sha256
    with pytest.raises(PoisonError, match="0 or more"):
        Gaussians(seed=-1).load(None)
