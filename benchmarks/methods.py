"""`python -m benchmarks methods`: how the hypergradients of HLP Table II grow, beside the table's orders.

Logistic regression on random rows. Time is the least of a few whole calls, training included; memory is what the
compiled call needs beside its arguments, as the compiler reports it. Both are fitted by a power of the size that
varies, over the two largest sizes, where the highest order shows.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.bilevel.bilevel_problem import BilevelProblem, Hypergradient
from poisoncli.bilevel.hypergradient import HypergradientMethod
from poisoncli.core.data import Data
from poisoncli.core.losses import cross_entropy
from poisoncli.core.victim import Objective
from poisoncli.models import MODELS
from poisoncli.training.layers import zeros
from poisoncli.training.layout import lay_out
from poisoncli.training.trainers import SGD

ROWS, REPEATS = 600, 3


class Size(NamedTuple):
    """Training steps T, features m (d = m + 1 parameters), and free points n_p."""

    steps: int = 100
    m: int = 100
    points: int = 5


class Series(NamedTuple):
    """A method with one size varied, and the exponents of its time and memory by Table II."""

    method: HypergradientMethod
    label: str
    field: str
    values: tuple[int, ...]
    base: Size
    time: str
    space: str


def series() -> list[Series]:
    """What is measured. Where m varies, d and the n_p m free numbers grow together: forward mode has both."""
    base = Size()
    whole, last = HypergradientMethod("reverse"), HypergradientMethod("reverse", last=20)
    implicit = Size(steps=100, m=100)
    return [
        Series(whole, "reverse", "steps", (500, 1000, 2000, 4000), base, "1", "1"),
        Series(whole, "reverse", "m", (400, 800, 1600, 3200), base, "1", "1"),
        Series(whole, "reverse", "points", (5, 20, 80, 320), base, "0", "0 to 1"),
        Series(last, "reverse, last 20 steps", "steps", (200, 400, 800, 1600), base, "1 (training)", "0"),
        Series(HypergradientMethod("forward"), "forward", "steps", (10, 20, 40, 80), Size(m=50), "1", "0"),
        Series(HypergradientMethod("forward"), "forward", "m", (25, 50, 100), Size(20), "2", "2"),
        Series(HypergradientMethod("forward"), "forward", "points", (2, 4, 8), Size(20, 50), "1", "1"),
        Series(
            HypergradientMethod("cg", iterations=30), "cg", "steps", (500, 1000, 2000, 4000), implicit, "1", "0"
        ),
        Series(HypergradientMethod("cg", iterations=30), "cg", "m", (200, 400, 800, 1600), implicit, "1", "1"),
        Series(HypergradientMethod("cg", iterations=30), "cg", "points", (5, 20, 80, 320), implicit, "0", "0 to 1"),
        Series(HypergradientMethod("exact"), "exact", "m", (400, 800, 1600, 3200), Size(steps=5), "3", "2"),
        Series(HypergradientMethod("exact"), "exact", "points", (5, 20, 80, 320), Size(steps=5, m=400), "0", "0"),
    ]


def main(quick: bool = False) -> None:
    """Measure every series and print its exponents; `quick`: the two smallest sizes only."""
    print(f"{'method':22} {'varied':7} {'sizes':20} {'seconds':28} {'MB':28} exponents of time, memory (Table II)")
    for one in series():
        values = one.values[:2] if quick else one.values
        found = [measure(one.method, one.base._replace(**{one.field: value})) for value in values]
        seconds, memory = zip(*found, strict=True)
        print(
            f"{one.label:22} {NAMES[one.field]:7} {_listed(values, 'd'):20} {_listed(seconds, '.3f'):28} "
            f"{_listed([size / 1e6 for size in memory], '.2f'):28} "
            f"{exponent(values, seconds):.1f} ({one.time}), {exponent(values, memory):.1f} ({one.space})",
            flush=True,
        )


NAMES = {"steps": "T", "m": "d", "points": "n_p"}


def _listed(values: tuple | list, form: str) -> str:
    return " ".join(format(value, form) for value in values)


def exponent(sizes: tuple[int, ...], values: tuple[float, ...]) -> float:
    """The power of the size with which the values grow between the two largest sizes."""
    return float(np.log(values[-1] / values[-2]) / np.log(sizes[-1] / sizes[-2]))


def measure(method: HypergradientMethod, size: Size) -> tuple[float, int]:
    """Seconds of a call, the least of some, and bytes that it needs beside its arguments."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(ROWS, size.m)).astype(np.float32), rng.integers(0, 2, ROWS).astype(np.float32)
    data = Data(jnp.asarray(x), jnp.asarray(y), jnp.ones(ROWS))
    objective = Objective(MODELS["logistic"](), cross_entropy, "l2", float(ROWS))

    def call(data: Data, target: Data) -> Hypergradient:
        trainer, start = SGD(0.05, size.steps), zeros(size.m)
        rows = lay_out(data)
        return method(BilevelProblem(objective, trainer, start, jnp.full(1, 3.0), rows, target, size.points))

    compiled = jax.jit(call).lower(data, data).compile()
    report = compiled.memory_analysis()
    assert report is not None
    jax.block_until_ready(compiled(data, data))
    return min(
        _timed(compiled, data) for _ in range(REPEATS)
    ), report.temp_size_in_bytes + report.output_size_in_bytes


def _timed(compiled: jax.stages.Compiled, data: Data) -> float:
    begun = time.perf_counter()
    jax.block_until_ready(compiled(data, data))
    return time.perf_counter() - begun
