"""Losses, penalties and errors against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.core.losses import ERROR, ROW_LOSS, TARGET_LOSSES, cross_entropy, penalty

LOGIT, Y = jnp.array([-2.0, 0.5, 3.0]), jnp.array([0.0, 1.0, 0.0])


def test_losses_of_a_row():
    p = 1 / (1 + np.exp(-np.asarray(LOGIT)))
    np.testing.assert_allclose(ROW_LOSS["binary"](LOGIT, Y), -np.log(np.where(Y == 1, p, 1 - p)), rtol=1e-6)
    np.testing.assert_allclose(ROW_LOSS["real"](LOGIT, Y), [2, 0.125, 4.5])


def test_losses_of_extreme_logits_are_finite():
    far = jnp.array([-1e4, 1e4])
    np.testing.assert_allclose(cross_entropy(far, jnp.array([1.0, 0.0])), 1e4)
    np.testing.assert_allclose(cross_entropy(far, jnp.array([0.0, 1.0])), 0)
    assert np.all(np.isfinite(jax.vmap(jax.grad(cross_entropy))(far, jnp.array([1.0, 0.0]))))


def test_margins_grow_as_rows_go_where_the_attacker_wants_them():
    np.testing.assert_array_equal(TARGET_LOSSES["margin", False](LOGIT, Y), [-2, -0.5, 3])
    np.testing.assert_array_equal(TARGET_LOSSES["margin", True](LOGIT, Y), [2, 0.5, -3])
    np.testing.assert_array_equal(TARGET_LOSSES["training", True](LOGIT, Y), -cross_entropy(LOGIT, Y))


def test_penalties_leave_biases_free():
    params = [{"w": jnp.array([[3.0, -4.0]]), "b": jnp.array([9.0])}, {"w": jnp.array([[-2.0]]), "b": jnp.ones(1)}]
    np.testing.assert_array_equal(penalty(params, "l2"), [12.5, 2])
    np.testing.assert_array_equal(penalty(params, "l1"), [7, 2])
    np.testing.assert_array_equal(penalty(params, "none"), [0, 0])


def test_errors_count_the_rows_kept():
    weight = jnp.array([1.0, 1.0, 0.0])
    assert ERROR["binary"](LOGIT, Y, jnp.ones(3)) == np.float32(1 / 3)
    assert ERROR["binary"](LOGIT, Y, weight) == 0
    assert ERROR["real"](LOGIT, Y, weight) == (4 + 0.25) / 1  # SPR eq. 7
