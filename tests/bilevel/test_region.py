"""The projection of poison rows onto what a table's schema allows."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from poisoncli.bilevel.region import regions
from poisoncli.core import domain
from poisoncli.core.attack import Poison, Problem, Threat, Units
from poisoncli.core.data import Data
from poisoncli.core.domain import Domain

SHIFT = np.array([30.0, 5.0, 0.5, 0.3, 0.2, 0, 0])
SCALE = np.array([10.0, 2.0, 0.5, 0.5, 0.5, 1, 1])
ROWS = np.array([[30.0, 5, 1, 0, 0, 0, 1], [22, 0.5, 0, 1, 0, 1, 0], [61, 9.5, 0, 0, 1, 0, 1]])


def region(columns_changed=0, move=(0,) * 7, unseen=()):
    """That of three rows with columns age, fare, port (three categories) and sex (two), for one repetition."""
    high = np.array([80.0, 9.5, 1, 1, 1, 1, 1])
    high[list(unseen)] = 0
    asked = Domain(
        low=np.array([0.0, 0.5, 0, 0, 0, 0, 0]),
        high=high,
        whole=np.arange(7) == 0,
        group=np.array([-1, -1, 0, 0, 0, 1, 1]),
        column=np.array([0, 1, 2, 2, 2, 3, 3]),
        names=("age", "fare", "port", "sex"),
        move=np.array(move),
        columns_changed=columns_changed,
    )
    rows = Data(((ROWS - SHIFT) / SCALE)[None].astype(np.float32), np.zeros((1, 3)), np.ones((1, 3)))
    problem = Problem(
        rows, rows, cast(Any, None), cast(Any, None), Threat((0, 3), 0, 1, domain=asked), np.zeros((1, 1)),
        np.array([False]),
        units=Units(SHIFT, SCALE),
    )  # fmt: skip
    nothing = np.zeros(0)
    poison = Poison(rows.x, rows.y, np.arange(3)[None], nothing, nothing, nothing, 0, 1)
    found = regions(problem, poison, slice(0, 1), slice(0, 3))
    return asked, jax.tree.map(lambda leaf: leaf[0], found)


def own(x):
    return np.asarray(x, float) * SCALE + SHIFT


@pytest.mark.parametrize("move", [(0,) * 7, (1, -1, 0, 0, 0, 2, 2)])
def test_it_is_the_nearest_point_in_the_coordinates_of_the_run(move):
    """Of a projection p of x, <x - p, z - p> <= 0 for all z of the set: here mixtures of random corners."""
    asked, at = region(move=move)
    rng = np.random.default_rng(1)
    x = jnp.asarray(3 * rng.standard_normal((3, 7)), jnp.float32)
    found = np.asarray(at.project(x), float)
    origin = domain.start(asked, ROWS)
    for _ in range(300):
        corners = [domain.rounded(asked, rng.uniform(0, 80, (3, 7)) * rng.random(7), origin) for _ in range(2)]
        share = rng.random()
        z = (share * corners[0] + (1 - share) * corners[1] - SHIFT) / SCALE
        assert np.all(np.sum((np.asarray(x) - found) * (z - found), axis=1) <= 1e-4)
    np.testing.assert_allclose(at.project(jnp.asarray(found, jnp.float32)), found, atol=1e-5)


def test_categories_that_training_never_saw_are_not_taken():
    _, at = region(unseen=[4])
    found = own(at.project(jnp.full((3, 7), 5.0)))
    assert np.allclose(found[:, 4], 0, atol=1e-6)
    assert np.allclose(found[:, 2:4].sum(1), 1, atol=1e-6)


def test_frozen_and_monotone_columns_keep_to_their_row():
    _, at = region(move=(1, -1, 2, 2, 2, 0, 0))
    for far in (-5.0, 5.0):
        found = own(at.project(jnp.full((3, 7), far)))
        assert np.all(found[:, 0] >= ROWS[:, 0] - 1e-4)
        assert np.all(found[:, 1] <= ROWS[:, 1] + 1e-4)
        np.testing.assert_allclose(found[:, 2:5], ROWS[:, 2:5], atol=1e-5)
    assert np.array_equal(at.free(jnp.ones((3, 7))), np.tile([1, 1, 0, 0, 0, 1, 1], (3, 1)))


def test_the_columns_that_moved_farthest_are_those_that_change():
    asked, at = region(columns_changed=2)
    start = np.asarray(at.origin)
    x = start + np.array([0.1, 2.0, 0, 0, 0, 0, 0]) + np.array([[0.0, 0, -2, 2, 0, 0, 0]])
    found = np.asarray(at.project(jnp.asarray(x, jnp.float32)))
    changed = domain.by_column(asked, (found != start).astype(float)) > 0
    assert np.all(changed.sum(1) <= 2)
    assert changed[0].tolist() == [False, True, True, False]
