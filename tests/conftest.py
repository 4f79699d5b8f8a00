"""Strict numerics for the core's tests; the product itself, and all other tests, run in float32."""

import hypothesis
import jax
import pytest

# a machine that is busy is no failure
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")


@pytest.fixture
def strict():
    """Float64, and an error wherever types or ranks are promoted silently; quick to compile."""
    jax.config.update("jax_disable_most_optimizations", True)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield
    jax.config.update("jax_disable_most_optimizations", False)
