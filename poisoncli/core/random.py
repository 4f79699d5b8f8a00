"""Random numbers on the host."""

from __future__ import annotations

import jax
import numpy as np

from poisoncli.core.data import Array


def generator(key: Array) -> np.random.Generator:
    """A NumPy generator seeded by a JAX key, for draws on the host."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))
