"""Random flips: rows drawn at random with the other label, and nothing else changed."""

import jax
import numpy as np
import regression_run
from settings_of_lambda import LEARN, STARTS, problem

from poisoncli.attacks.flip import Flip
from poisoncli.models.logistic import Logistic


def test_rows_keep_their_features_and_get_the_other_label():
    whole = problem(Logistic(), STARTS[:1], LEARN[:1])
    (poison,) = Flip().craft(jax.random.key(0), whole)
    for r in range(2):
        np.testing.assert_array_equal(poison.x[r], whole.train.x[r, poison.replaced[r]])
        np.testing.assert_array_equal(poison.y[r], 1 - whole.train.y[r, poison.replaced[r]])
    assert not np.array_equal(*poison.replaced)


def test_real_targets_go_to_the_farther_end_of_their_range():
    whole = regression_run.problem()
    (poison,) = Flip().craft(jax.random.key(0), whole)
    for r in range(2):
        clean = whole.train.y[r]
        low, high = clean.min(), clean.max()
        y = clean[poison.replaced[r]]
        np.testing.assert_allclose(poison.y[r], np.where(y - low > high - y, low, high))
