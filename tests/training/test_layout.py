"""The layout of the rows: what is left out changes no result."""

import jax.numpy as jnp
import numpy as np
import pytest
from cases import FREE

from poisoncli.training.layout import compress, free_rows, products, pull_back, replace_free


def test_only_columns_of_zeros_are_left_out():
    x = np.random.default_rng(0).random((2, 5, 30))
    assert compress(x).columns is None
    x[..., [3, 4, 7, 9]] = 0
    x[1, 2, [4, 9]] = 1
    assert compress(x).columns is None  # two of thirty columns are too few to gain from
    x[1, 2, [4, 9]] = 0
    kept = compress(x)
    np.testing.assert_array_equal(kept.columns, np.setdiff1d(np.arange(30), [3, 4, 7, 9]))
    np.testing.assert_array_equal(kept.x, x.astype(kept.x.dtype)[..., kept.columns])
    np.testing.assert_array_equal(kept.xt, np.swapaxes(kept.x, 1, 2))


@pytest.mark.parametrize("compressed", [False, True])
def test_pull_back_is_the_transpose_of_products(case, compressed):
    rows = case().rows(compressed=compressed)
    rng = np.random.default_rng(0)
    weight, d = jnp.asarray(rng.normal(size=(4, 64))), jnp.asarray(rng.normal(size=(14, 4)))
    ahead = jnp.sum(products(weight, rows) * d)
    np.testing.assert_allclose(ahead, jnp.sum(weight * pull_back(d, rows, 64)), rtol=1e-12)


def test_free_rows_stand_last(case):
    case = case()
    np.testing.assert_array_equal(case.rows(compressed=True).blocks[-1].x, case.train.x[-FREE:])


def test_replaced_rows_are_the_last_of_the_last_block(case):
    rows = case().rows(compressed=True)
    x = jnp.full((2, 64), 0.25)
    moved = replace_free(rows, x)
    np.testing.assert_array_equal(free_rows(moved, 2), x)
    np.testing.assert_array_equal(moved.blocks[-1].x[:-2], rows.blocks[-1].x[:-2])
    np.testing.assert_array_equal(moved.blocks[-1].xt, moved.blocks[-1].x.T)
