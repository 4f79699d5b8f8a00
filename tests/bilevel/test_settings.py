"""Some of several settings of a problem, taken out and put back."""

import jax
import numpy as np
from regression_run import problem

from poisoncli.bilevel.initial_poison import copies
from poisoncli.bilevel.settings import entries_of, of_settings, with_entries


def three():
    """Two repetitions of a problem with three settings, and a `Poison` whose entries tell their numbers."""
    one = problem()
    many = one._replace(
        settings=3,
        log_lambda=np.arange(6.0)[:, None],
        learn=np.zeros(3, bool),
        varied={"alpha": np.array([0.1, 0.2, 0.3])},
    )
    poison = copies(jax.random.key(0), many, 2)
    number = np.arange(6.0)
    return many, poison._replace(
        x=np.repeat(poison.x, 3, axis=0), y=np.repeat(number[:, None], poison.y.shape[1], axis=1),
        scales=np.zeros((6, 1, 2)), trail=np.zeros((6, 1, 2, 1)),
    )  # fmt: skip


def test_settings_keep_what_is_theirs_in_each_repetition():
    many, poison = three()
    chosen = np.array([2, 0])
    some, own = of_settings(many, chosen), entries_of(poison, chosen, 3)
    assert some.settings == 2
    np.testing.assert_array_equal(some.log_lambda[:, 0], [2, 0, 5, 3])
    np.testing.assert_array_equal(some.varied["alpha"], [0.3, 0.1])
    np.testing.assert_array_equal(own.y[:, 0], [2, 0, 5, 3])


def test_they_are_put_where_they_belong_and_others_stay():
    _, poison = three()
    own = entries_of(poison, np.array([2, 0]), 3)
    found = own._replace(y=own.y + 10, done=7)
    back = with_entries(poison, found, np.array([1, 2]), np.array([1, 0]), 3)
    np.testing.assert_array_equal(back.y[:, 0], [0, 10, 12, 3, 13, 15])
    assert back.done == 7
    np.testing.assert_array_equal(poison.y[:, 0], np.arange(6))  # a copy
