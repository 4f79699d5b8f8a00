"""Strict numerics for the core's tests; the product itself, and all other tests, run in float32."""

import jax
import pytest
from hypothesis import settings

settings.register_profile("suite", deadline=None, max_examples=40)  # a busy machine is no failure
settings.load_profile("suite")


@pytest.fixture
def strict():
    """Float64, and an error wherever types or ranks are promoted silently; quick to compile."""
    jax.config.update("jax_disable_most_optimizations", True)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield
    jax.config.update("jax_disable_most_optimizations", False)
