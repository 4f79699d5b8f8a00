"""Rules for the outer steps against their definitions."""

import jax.numpy as jnp
import numpy as np

from poisoncli.bilevel.outer_rules import outer_direction


def test_rules_are_those_of_their_definitions(standard):
    slopes = [np.array([1.0, -2.0]), np.array([0.5, 3.0]), np.array([-1.0, 0.1])]
    memory, mean, square = np.zeros((2, 2)), np.zeros(2), np.zeros(2)
    for t, slope in enumerate(slopes):
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        found, memory = outer_direction("adam", jnp.asarray(slope), jnp.asarray(memory), jnp.asarray(t))
        expected = mean / (1 - 0.9 ** (t + 1)) / (np.sqrt(square / (1 - 0.999 ** (t + 1))) + 1e-8)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    first, memory = outer_direction("optimistic", jnp.asarray(slopes[0]), jnp.zeros((1, 2)), jnp.asarray(0))
    second, _ = outer_direction("optimistic", jnp.asarray(slopes[1]), memory, jnp.asarray(1))
    np.testing.assert_array_equal(first, slopes[0])
    np.testing.assert_array_equal(second, 2 * slopes[1] - slopes[0])
