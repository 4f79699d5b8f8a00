"""Rows of two classes with some that lie off, and what a filter makes of them."""

import jax
import numpy as np
import planes

from poisoncli.core.data import Data


def rows(seed: int = 0) -> Data:
    """Forty rows of class 0 and twenty of class 1 with five columns."""
    rng = np.random.default_rng(seed)
    y = np.repeat([0.0, 1.0], [40, 20])
    return Data(rng.normal(size=(60, 5)) + 2 * y[:, None], y, np.ones(60))


def check(defense, score: np.ndarray, data: Data) -> None:
    """`defense`, with remove=0.1, has these scores and drops the highest four of class 0 and two of class 1."""
    verdict = defense.weigh(jax.random.key(0), data, planes.learner("binary", "logistic"), planes.NOBODY)
    np.testing.assert_allclose(verdict.score, score, rtol=1e-5, atol=1e-7)
    for label, count in ((0, 4), (1, 2)):
        own = np.flatnonzero(data.y == label)
        gone = own[verdict.weight[own] == 0]
        assert set(gone) == set(own[np.argsort(-score[own])[:count]])
    assert defense.knows() == "nothing"
