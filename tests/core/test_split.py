"""Random splits: sizes, balance, disjointness, determinism."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poisoncli.core.errors import PoisonError
from poisoncli.core.split import default_sizes, draw, largest


@st.composite
def requests(draw_value):
    """Targets with unequal classes, and sizes that fit."""
    class_sizes = draw_value(st.lists(st.integers(3, 30), min_size=2, max_size=5))
    y = np.repeat(np.arange(len(class_sizes)), class_sizes).astype(np.float32)
    most = len(class_sizes) * min(class_sizes)
    n_train = draw_value(st.integers(1, most - 2))
    n_val = draw_value(st.integers(1, most - n_train - 1))
    n_test = draw_value(st.integers(1, most - n_train - n_val))
    order = np.random.default_rng(draw_value(st.integers(0, 99))).permutation(len(y))
    return y[order], (n_train, n_val, n_test)


@given(request=requests(), seed=st.integers(0, 2**32))
def test_parts_are_balanced_disjoint_and_repeatable(request, seed):
    y, sizes = request
    task = "binary" if y.max() == 1 else "multiclass"
    parts = draw(np.random.default_rng(seed), y, task, sizes)
    together = np.concatenate(parts)
    assert tuple(map(len, parts)) == sizes
    assert len(np.unique(together)) == len(together)
    for part in parts:
        counts = np.bincount(y[part].astype(int), minlength=int(y.max()) + 1)
        assert counts.max() - counts.min() <= 1
    again = draw(np.random.default_rng(seed), y, task, sizes)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))


@given(n=st.integers(3, 50), seed=st.integers(0, 2**32))
def test_real_targets_are_drawn_from_all_rows(n, seed):
    parts = draw(np.random.default_rng(seed), np.linspace(0, 1, n), "real", (n - 2, 1, 1))
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))


def test_each_row_is_as_likely_in_each_place():
    y = np.tile([0.0, 1.0], 6)
    rng = np.random.default_rng(0)
    first = [draw(rng, y, "binary", (4, 4, 4))[0][0] for _ in range(2400)]
    assert np.bincount(first, minlength=12) == pytest.approx(np.full(12, 200), abs=60)


def test_all_of_an_odd_pool_can_be_drawn():
    y = np.repeat([0.0, 1.0, 2.0], [4, 5, 5])
    parts = draw(np.random.default_rng(0), y, "multiclass", (7, 5, 2))
    assert sorted(np.concatenate(parts).tolist()) == list(range(14))


def test_too_many_rows_name_the_largest_sizes():
    y = np.repeat([0.0, 1.0], [5, 9])
    expected = "13 rows were asked for, but the data have 14, 10 of them balanced over 2 classes: let --n-train"
    with pytest.raises(PoisonError, match=expected):
        draw(np.random.default_rng(0), y, "binary", (9, 2, 2))
    with pytest.raises(PoisonError, match="at most 14"):
        draw(np.random.default_rng(0), y, "real", (9, 5, 2))


@pytest.mark.parametrize(
    ("sizes", "flag"), [((0, 1, 1), "--n-train"), ((1, -1, 1), "--n-val"), ((1, 1, 0), "--n-test")]
)
def test_each_part_needs_a_row(sizes, flag):
    with pytest.raises(PoisonError, match=flag):
        draw(np.random.default_rng(0), np.array([0.0, 1.0, 0.0, 1.0]), "binary", sizes)


@given(request=requests())
def test_default_sizes_fit(request):
    y, _ = request
    sizes = default_sizes(y, "multiclass")
    assert sum(sizes) == largest(y, "multiclass")
    assert tuple(map(len, draw(np.random.default_rng(0), y, "multiclass", sizes))) == sizes
