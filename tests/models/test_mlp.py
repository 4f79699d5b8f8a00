"""The network: its layers, its activation, and that it learns what no line can."""

import jax
import jax.numpy as jnp
import numpy as np
from cases import plain_output

from poisoncli.core.data import Data
from poisoncli.core.losses import cross_entropy
from poisoncli.core.victim import Objective, predict
from poisoncli.models.mlp import MLP
from poisoncli.training.descent import fit
from poisoncli.training.layout import lay_out
from poisoncli.training.trainers import SGD


def test_it_is_a_network_of_its_hidden_widths():
    model = MLP(hidden=(5, 3), leak=0.2, bias=0.7)
    params = model.init(jax.random.key(0), 4)
    assert [layer["w"].shape for layer in params] == [(5, 4), (3, 5), (1, 3)]
    assert all(np.all(layer["b"] == np.float32(0.7)) for layer in params)
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    found = model.output(params, x @ params[0]["w"].T)
    np.testing.assert_allclose(found, plain_output(params, x, 0.2)[:, 0], rtol=1e-5)


def test_it_learns_an_exclusive_or():
    x = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    data = Data(x, np.array([0, 1, 1, 0], np.float32), np.ones(4, np.float32))
    model = MLP(hidden=(16,))
    objective = Objective(model, cross_entropy, "none", 4.0)
    start = model.init(jax.random.key(1), 2)
    params = jax.jit(lambda: fit(objective, SGD(0.5, 2000), start, jnp.zeros(1), lay_out(data)))()
    np.testing.assert_array_equal(predict(model, params, x) > 0, data.y > 0.5)
