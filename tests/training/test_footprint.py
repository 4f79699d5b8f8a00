"""How many numbers a model keeps."""

import jax
import jax.numpy as jnp
import pytest

from poisoncli.core.data import Data
from poisoncli.core.losses import cross_entropy, error_rate, softmax_cross_entropy
from poisoncli.core.victim import Objective
from poisoncli.models.cnn import CNN
from poisoncli.models.logistic import Logistic
from poisoncli.training.footprint import footprint
from poisoncli.training.score import train_and_score
from poisoncli.training.trainers import SGD


@pytest.mark.parametrize(("model", "outputs", "parameters"), [(Logistic(), 1, 65), (Logistic(), 10, 650)])
def test_parameters_are_counted(model, outputs, parameters):
    found = footprint(Objective(model, cross_entropy, "none", 1.0, outputs=outputs), 64)
    assert found.parameters == parameters
    assert outputs <= found.activations < 10 * 64 * outputs


def test_estimate_is_that_of_the_compiled_training():
    """Within a factor of three of the bytes of the program that trains a network."""
    objective, m, n = Objective(CNN(), softmax_cross_entropy, "none", 300.0, outputs=3), 196, 300
    found = footprint(objective, m)
    rows = [jax.ShapeDtypeStruct((1, *shape), jnp.float32) for shape in ((n, m), (n,), (n,), (1,))]
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1))
    data = Data(*rows[:3])
    program = train_and_score.lower(
        keys, objective, SGD(0.1, 5), data, rows[3], data, data, error=error_rate
    ).compile()
    taken = program.memory_analysis().temp_size_in_bytes
    assert taken < 3 * 4 * (4 * found.parameters + n * (found.activations + m))
    assert 4 * (4 * found.parameters + n * (found.activations + m)) < 3 * taken


def test_images_make_more_of_a_row_than_it_has_features():
    small, large = (footprint(Objective(CNN(), cross_entropy, "none", 1.0), m, jnp.float32) for m in (64, 784))
    assert small.activations > 64 * 6
    assert 5 < large.activations / small.activations < 15
