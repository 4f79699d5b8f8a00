"""Kuncheva's index against its definition and known values, and the other measures of change."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poisoncli.core.stability import consistency, histogram, kuncheva, relative_decrease, top_features


@pytest.mark.parametrize(
    ("one", "other", "d", "expected"),
    [
        ([0, 1, 2], [2, 1, 0], 10, 1.0),  # equal sets
        ([0, 1], [2, 3], 4, -1.0),  # complements of half the features
        ([0, 1], [1, 2], 4, 0.0),  # r = k^2 / d, as at random
        ([0], [1], 100, -1 / 99),
        ([0, 1, 2, 3], [0, 1, 2, 9], 10, (30 - 16) / 24),
    ],
)
def test_index_has_its_known_values(one, other, d, expected):
    assert kuncheva(np.array(one), np.array(other), d) == pytest.approx(expected)


@given(st.integers(2, 7).flatmap(lambda d: st.tuples(st.just(d), st.integers(1, d - 1))))
def test_index_of_random_sets_averages_to_zero(sizes):
    d, k = sizes
    sets = [np.array(chosen) for chosen in itertools.combinations(range(d), k)]
    assert np.mean([kuncheva(sets[0], other, d) for other in sets]) == pytest.approx(0, abs=1e-12)


@given(st.data())
def test_index_is_its_definition_for_any_k(data):
    d = data.draw(st.integers(2, 40))
    k = data.draw(st.integers(1, d - 1))
    one, other = (data.draw(st.permutations(range(d)))[:k] for _ in range(2))
    r = len(set(one) & set(other))
    found = kuncheva(np.array(one), np.array(other), d)
    assert found == pytest.approx((r * d - k * k) / (k * (d - k)))
    assert -1 <= found <= 1


@pytest.mark.parametrize(("k", "d"), [(0, 4), (4, 4)])
def test_no_feature_and_all_features_have_no_index(k, d):
    with pytest.raises(ValueError, match="between 0 and 4"):
        kuncheva(np.arange(k), np.arange(k), d)


def test_features_count_by_absolute_weight():
    clean, poisoned = np.array([0.1, -5.0, 3.0, 0.0]), np.array([-4.0, 5.0, 0.2, 0.0])
    np.testing.assert_array_equal(top_features(clean, 3), [1, 2, 0])
    assert consistency(clean, poisoned, 2) == pytest.approx((1 * 4 - 4) / (2 * 2))
    assert consistency(clean, -clean, 2) == 1


def test_relative_decrease_is_the_share_that_the_penalty_takes_away():
    found = relative_decrease(np.array([0.2, 0.1, 0.0]), np.array([0.05, 0.2, 0.0]))
    np.testing.assert_allclose(found, [0.75, -1.0, np.nan])


def test_histogram_counts_every_weight_in_common_bins():
    rng = np.random.default_rng(0)
    clean, poisoned = rng.normal(size=(3, 50)), 2 * rng.normal(size=(3, 50))
    edges, before, after = histogram(clean, poisoned, bins=20)
    assert len(edges) == 21
    assert before.sum() == after.sum() == 150
    assert edges[0] == min(clean.min(), poisoned.min())
    inside = (clean >= edges[9]) & (clean < edges[10])
    assert before[9] == inside.sum()
