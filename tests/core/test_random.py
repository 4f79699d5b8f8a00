"""Draws on the host follow the key."""

import jax

from poisoncli.core.random import generator


def test_a_key_determines_the_draws():
    one, again, other = (generator(jax.random.key(seed)).random(5).tolist() for seed in (0, 0, 1))
    assert one == again
    assert one != other
    folded = generator(jax.random.fold_in(jax.random.key(0), 1)).random(5).tolist()
    assert folded not in (one, other)
