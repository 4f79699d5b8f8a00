"""How many numbers a model keeps."""

import jax.numpy as jnp
import pytest

from poisoncli.core.losses import cross_entropy
from poisoncli.core.victim import Objective
from poisoncli.models.cnn import CNN
from poisoncli.models.logistic import Logistic
from poisoncli.training.footprint import footprint


@pytest.mark.parametrize(("model", "outputs", "parameters"), [(Logistic(), 1, 65), (Logistic(), 10, 650)])
def test_parameters_are_counted(model, outputs, parameters):
    found = footprint(Objective(model, cross_entropy, "none", 1.0, outputs=outputs), 64)
    assert found.parameters == parameters
    assert outputs <= found.activations < 10 * 64 * outputs


def test_images_make_more_of_a_row_than_it_has_features():
    small, large = (footprint(Objective(CNN(), cross_entropy, "none", 1.0), m, jnp.float32) for m in (64, 784))
    assert small.activations > 64 * 6
    assert 5 < large.activations / small.activations < 15
