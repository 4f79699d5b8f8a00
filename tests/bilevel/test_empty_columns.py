"""Columns that are zero in all rows are left out where settings are solved together."""

import dataclasses

import jax
import numpy as np
from settings_of_lambda import ATTACK, LEARN, STARTS, problem

from poisoncli.bilevel.empty_columns import moving_columns, narrowed, narrowed_poison, widened
from poisoncli.models.logistic import Logistic
from poisoncli.models.mlp import MLP

SHORT = dataclasses.replace(ATTACK, outer_steps=1, inner_steps=3)


def test_columns_without_a_number_are_found(strict):
    whole = problem(Logistic(), STARTS, LEARN)
    rows = np.concatenate([whole.train.x.reshape(-1, 64), whole.target.x.reshape(-1, 64)])
    columns = moving_columns(whole)
    np.testing.assert_array_equal(columns, np.flatnonzero(rows.any(axis=0)))
    assert 0 < len(columns) < 60
    seen = whole.target._replace(x=np.ones_like(whole.target.x))
    assert moving_columns(whole._replace(trusted=seen)) is None  # a learner looks at the others


def test_all_stay_where_weights_or_points_could_leave_zero(strict):
    whole = problem(Logistic(), STARTS, LEARN)
    assert moving_columns(problem(MLP(hidden=(4,), leak=np.float64(0.1)), STARTS, LEARN)) is None
    assert moving_columns(whole._replace(threat=whole.threat._replace(low=np.full(64, 0.1)))) is None


def test_columns_come_back(strict):
    whole = problem(Logistic(), STARTS, LEARN)
    whole = whole._replace(threat=whole.threat._replace(high=np.linspace(1, 2, 128).reshape(2, 64)))
    columns = moving_columns(whole)
    narrow = narrowed(whole, columns)
    np.testing.assert_array_equal(narrow.threat.high, whole.threat.high[:, columns])
    assert narrow.target.x.shape == (2, 10, len(columns))
    *_, poison = SHORT.craft(jax.random.key(3), whole)
    assert poison.x.shape[2] == 64
    np.testing.assert_array_equal(widened(narrowed_poison(poison, columns), columns, 64).x, poison.x)


def test_a_point_alone_stays_at_zero_where_the_rows_are(strict):
    """What leaving the columns out rests on: with every penalty, and with every rule of the trainer."""
    for reg in ("l1", "l2"):
        whole = problem(Logistic(), STARTS[2:], LEARN[2:])
        whole = whole._replace(objective=dataclasses.replace(whole.objective, reg=reg))
        *_, poison = SHORT.craft(jax.random.key(3), whole)
        empty = np.setdiff1d(np.arange(64), moving_columns(whole))
        assert not poison.x[..., empty].any()
        assert poison.x.any()
