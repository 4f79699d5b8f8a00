"""Huber regression: its weights give scikit-learn's line."""

import jax
import numpy as np
from planes import NOBODY, learner, plane, weighted_line
from sklearn.linear_model import HuberRegressor

from poisoncli.defenses.huber import Huber


def test_huber_weights_give_scikit_learns_line():
    case = plane(far=3.0)
    weight = Huber(epsilon=1.35).weigh(jax.random.key(0), case.data, learner(), NOBODY).weight
    theirs = HuberRegressor(epsilon=1.35, alpha=1e-4, max_iter=10_000).fit(case.data.x, case.data.y)
    np.testing.assert_allclose(weighted_line(case.data, weight)[:2], theirs.coef_, atol=2e-3)
    assert weight.min() > 0
