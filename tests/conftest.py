"""Strict numerics for the core's tests; the product itself, and all other tests, run in float32."""
# ruff: noqa: E402  (JAX reads the environment when it is imported)

import os
from pathlib import Path

FOLDER = Path(__file__).parents[1] / ".jax_cache"
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
# Nearly all of the suite's time is compilation of small programs: it is done without costly optimizations. In the
# environment, before JAX is imported, so that commands which tests start compile to the same bits.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# What was compiled is kept for the next run of the tests, by JAX under keys of its version, flags and device;
# for each worker apart, since nothing keeps one from reading what another has half written.
if Path(os.environ.get("JAX_COMPILATION_CACHE_DIR", FOLDER / "")).is_relative_to(FOLDER):  # a worker inherits one
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(FOLDER / (WORKER or "alone"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
if WORKER:  # one process a core, one thread a process
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import cases
import jax
import numpy as np
import pytest
import scipy.io
from hypothesis import settings

settings.register_profile("suite", deadline=None, max_examples=40)  # a busy machine is no failure
settings.load_profile("suite")


@pytest.fixture
def strict():
    """Float64, and an error wherever types or ranks are promoted silently."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def standard(strict):
    """`strict`, but for Optax, which promotes types silently."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(autouse=True)
def wide_tables(monkeypatch):
    """Tables stand in one piece, unless a test says how wide its terminal is."""
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(autouse=True)
def no_data_at_hand(monkeypatch):
    """Tests bring their data: what lies on this machine must not decide what they see."""
    monkeypatch.delenv("POISON_DATA_DIR", raising=False)


@pytest.fixture(autouse=True, scope="module")
def forgotten_programs():
    """Compiled programs hold memory maps, and a process that uses up those it may have (65,530) crashes."""
    yield
    maps = Path("/proc/self/maps")
    if not maps.exists() or maps.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()


@pytest.fixture
def case(strict):
    """Makes a `cases.Case`, in strict float64: a model, a penalty, and the number of lambdas."""
    return cases.make


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A data folder with a small file in the form of the processed Enron mails: 220 and 80 mails, 40 words."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    y = np.where(rng.random(300) < 0.35, 1, -1)
    rates = rng.gamma(0.4, 1.0, (2, 40))
    x = rng.poisson(rates[(y > 0).astype(int)] * 0.7 + 0.05).astype(float)
    arrays = {"X_train": x[:220], "X_test": x[220:], "y_train": y[:220, None], "y_test": y[220:, None]}
    (folder / "enron").mkdir()
    scipy.io.savemat(folder / "enron" / "enron_data.mat", arrays)
    return str(folder)


def pytest_collection_modifyitems(items):
    """Of a test of many variants, marked `sampled`, all but the first are long."""
    seen = set()
    for item in items:
        if item.get_closest_marker("sampled"):
            test = item.nodeid.partition("[")[0]
            if test in seen:
                item.add_marker(pytest.mark.long)
            seen.add(test)
