"""Rounding to rows that a table's schema allows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poisoncli.core import domain
from poisoncli.core.domain import Domain


def table(columns_changed=0, move=(0, 0, 0, 0, 0, 0, 0)):
    """Columns age (whole), fare, port (three categories, the last not seen), sex (two)."""
    return Domain(
        low=np.array([0.0, 0.5, 0, 0, 0, 0, 0]),
        high=np.array([80.0, 9.5, 1, 1, 0, 1, 1]),
        whole=np.array([True, False, False, False, False, False, False]),
        group=np.array([-1, -1, 0, 0, 0, 1, 1]),
        column=np.array([0, 1, 2, 2, 2, 3, 3]),
        names=("age", "fare", "port", "sex"),
        move=np.array(move),
        columns_changed=columns_changed,
    )


ORIGIN = np.array([[30.0, 5, 1, 0, 0, 0, 1]])


def test_a_row_is_rounded_to_the_nearest_possible_one():
    x = np.array([[31.6, 12.0, 0.2, 0.3, 0.9, 0.8, 0.3]])
    found = domain.rounded(table(), x)
    assert found.tolist() == [[32, 9.5, 0, 1, 0, 1, 0]]
    assert not domain.impossible(table(), found).any()
    assert domain.impossible(table(), x).all()


def test_frozen_and_monotone_columns_stay_where_they_may_not_go():
    x = np.array([[20.0, 7.0, 0, 1, 0, 1, 0]])
    found = domain.rounded(table(move=(1, -1, 0, 0, 0, 2, 2)), x, ORIGIN)
    assert found.tolist() == [[30, 5, 0, 1, 0, 0, 1]]


def test_so_many_of_the_users_columns_change_and_no_more():
    x = np.array([[80.0, 5.1, 0, 1, 0, 0, 1]])
    found = domain.rounded(table(columns_changed=2), x, ORIGIN)
    assert found.tolist() == [[80, 5, 0, 1, 0, 0, 1]]
    assert domain.impossible(table(columns_changed=1), found, ORIGIN).all()


def test_random_rounding_has_the_mean_of_what_is_rounded():
    x = np.tile([30.25, 5, 0.7, 0.3, 0, 1, 0], (4000, 1))
    found = domain.rounded(table(), x, rng=np.random.default_rng(0))
    assert not domain.impossible(table(), found).any()
    np.testing.assert_allclose(found.mean(0), x[0], atol=0.03)


def test_a_frozen_cell_stays_also_where_it_is_no_whole_number():
    """An imputed age of a frozen column is no whole number, and the attacker cannot make it one."""
    rows = np.array([[28.4, 5, 1, 0, 0, 0, 1]])
    assert domain.start(table(), rows)[0, 0] == 28
    assert domain.start(table(move=(2, 0, 0, 0, 0, 0, 0)), rows)[0, 0] == 28.4


@given(
    st.lists(st.floats(-100, 100), min_size=7, max_size=7),
    st.lists(st.sampled_from([0, 1, -1, 2]), min_size=2, max_size=2),
    st.sampled_from([(0, 0), (2, 2)]),
    st.integers(0, 4),
)
def test_whatever_is_rounded_is_possible_and_stays_when_it_is_rounded_again(values, numbers, port, changed):
    asked = table(changed, (*numbers, *port, port[0], 0, 0))
    found = domain.rounded(asked, np.array([values]), ORIGIN)
    assert not domain.impossible(asked, found, ORIGIN).any()
    assert np.array_equal(domain.rounded(asked, found, ORIGIN), found)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_a_repetition_has_its_own_range(shape):
    asked = domain.plain(np.zeros(()), np.ones(()), 3, False)._replace(low=np.zeros(shape), high=np.ones(shape))
    assert asked.of(1).low.shape == asked.of(1).high.shape == (3,)
