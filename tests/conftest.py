"""Strict numerics for the core's tests; the product itself, and all other tests, run in float32."""

import cases
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


@pytest.fixture(autouse=True)
def no_data_at_hand(monkeypatch):
    """Tests bring their data: what lies on this machine must not decide what they see."""
    monkeypatch.delenv("POISON_DATA_DIR", raising=False)


@pytest.fixture(autouse=True, scope="module")
def forgotten_programs():
    """Compiled programs hold memory maps, and a process that uses up those it may have (65,530) crashes."""
    yield
    jax.clear_caches()


@pytest.fixture
def case(strict):
    """Makes a `cases.Case`, in strict float64: a model, a penalty, and the number of lambdas."""
    return cases.make
