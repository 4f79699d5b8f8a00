"""Where attacks start."""

import jax
import numpy as np
from settings_of_lambda import LEARN, STARTS, problem

from poisoncli.bilevel.initial_poison import copies, flipped_copies, opposite, other_class
from poisoncli.models.logistic import Logistic


def test_other_starts_are_rows_of_the_other_class():
    x, y = np.arange(12.0).reshape(6, 2), np.array([0, 1, 0, 1, 1, 0])
    rng = np.random.default_rng(0)
    found = other_class(rng, x, y, np.array([1, 0, 1, 0, 1]))
    assert [y[int(row[0]) // 2] for row in found] == [0, 1, 0, 1, 0]
    assert len(np.unique(found, axis=0)) == 5
    assert len(other_class(rng, x, y, np.ones(7))) == 7  # more than there are
    assert other_class(rng, x, np.zeros(6), np.array([1, 0])) is None


def test_copies_are_rows_drawn_without_replacement():
    whole = problem(Logistic(), STARTS, LEARN)
    poison = copies(jax.random.key(0), whole, outer_steps=7)
    for r in range(2):
        assert len(set(poison.replaced[r])) == 5
        np.testing.assert_array_equal(poison.x[r], whole.train.x[r, poison.replaced[r]])
        np.testing.assert_array_equal(poison.y[r], whole.train.y[r, poison.replaced[r]])
    assert poison.loss.shape == (6, 4, 7)  # repetitions times settings, stages, outer steps
    assert np.all(np.isnan(poison.loss))
    np.testing.assert_array_equal(poison.log_lambda, np.tile(STARTS, (2, 1))[:, None].repeat(4, axis=1))
    flipped = flipped_copies(jax.random.key(0), whole, outer_steps=7)
    np.testing.assert_array_equal(flipped.x, poison.x)
    np.testing.assert_array_equal(flipped.y, 1 - poison.y)


def test_the_opposite_of_a_target_is_the_farther_bound():
    whole = problem(Logistic(), STARTS, LEARN)
    whole = whole._replace(threat=whole.threat._replace(y_low=np.array([-1.0, 0.0]), y_high=np.array([3.0, 1.0])))
    found = opposite(np.array([[-1.0, 0.9, 1.1, 3.0], [0.0, 0.4, 0.6, 1.0]]), whole)
    np.testing.assert_array_equal(found, [[3, 3, -1, -1], [1, 1, 0, 0]])
