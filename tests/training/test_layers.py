"""Layers: where the parameters start, and what a network makes of a row."""

import jax
import jax.numpy as jnp
import numpy as np
from cases import plain_output

from poisoncli.core.victim import predict
from poisoncli.models.mlp import MLP
from poisoncli.training.layers import dimension, forward, xavier_uniform, zeros


def test_xavier_weights_are_uniform_within_their_bound():
    params = xavier_uniform(jax.random.key(0), (200, 100, 1), 0.01)
    assert [layer["w"].shape for layer in params] == [(100, 200), (1, 100)]
    for layer, (inputs, outputs) in zip(params, [(200, 100), (100, 1)], strict=True):
        bound = np.sqrt(6 / (inputs + outputs))
        assert 0.95 * bound < np.abs(layer["w"]).max() <= bound
        np.testing.assert_array_equal(layer["b"], np.full(outputs, 0.01, np.float32))
    first = np.asarray(params[0]["w"])
    np.testing.assert_allclose([first.mean(), first.std()], [0, np.sqrt(6 / 300 / 3)], atol=3e-3)
    other = xavier_uniform(jax.random.key(1), (200, 100, 1), 0.01)
    assert not np.array_equal(first, other[0]["w"])


def test_a_network_is_its_layers_one_after_the_other(strict):
    rng = np.random.default_rng(0)
    params = [
        {"w": jnp.asarray(rng.normal(size=(k, m))), "b": jnp.asarray(rng.normal(size=k))}
        for m, k in ((6, 4), (4, 3), (3, 1))
    ]
    x, leak = jnp.asarray(rng.normal(size=(5, 6))), jnp.asarray(0.3)
    expected = plain_output(params, x, 0.3)[:, 0]
    np.testing.assert_allclose(forward(params, x @ params[0]["w"].T, leak), expected, rtol=1e-12)
    np.testing.assert_allclose(predict(MLP((4, 3), leak), params, x), expected, rtol=1e-12)
    assert dimension(params) == 4 * 7 + 3 * 5 + 4


def test_zeros_are_one_layer():
    (layer,) = zeros(7, 2)
    assert layer["w"].shape == (2, 7)
    assert layer["b"].shape == (2,)
    assert not np.any(layer["w"])
    assert dimension([layer]) == 16
