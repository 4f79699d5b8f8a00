"""How long a run will take on this machine and how much memory, roughly, from its sizes alone."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from poisoncli.core.errors import PoisonError
from poisoncli.core.victim import Exact, is_linear_first
from poisoncli.runs import defaults, description
from poisoncli.runs.description import Run
from poisoncli.runs.problem import counts_of

_BEGIN = 5.0  # seconds to load data and compile
_ARITHMETIC, _MEMORY = 150e9, 40e9  # operations and bytes a second of the machine for which the constants hold
_PROBE = (4096, 1024)  # rows and columns of the product that is timed
_LIBRARIES = 0.4 * 2**30  # bytes of Python, JAX and what is compiled
_COPIES = 20.0  # bytes for each number of the rows: as they are, scaled, rounded


class Estimate(NamedTuple):
    """Seconds and bytes; None where they cannot be told from the sizes."""

    seconds: float | None
    memory: float | None

    def __str__(self) -> str:
        """In words."""
        taken = "time unknown" if self.seconds is None else f"about {_duration(self.seconds)}"
        return taken + ("" if self.memory is None else f", {self.memory / 2**30:.1f} GiB")


def estimate(run: Run) -> Estimate:
    """What a resolved run takes: of a bilevel attack, or one that does not optimize, with its evaluation.

    Training steps are counted, each as long as reading its rows, or as its products; the search of other attacks
    has no fixed number of steps, so that their time is not told. Nothing is told of rows whose number or width only
    the data tell.
    """
    told, model = defaults.dataset(run.dataset.name), description.build(run.model, "model")
    asked = (run.n_train, run.n_val, run.n_test)
    n, val, test = (own or usual for own, usual in zip(asked, told.sizes or (0, 0, 0), strict=True))
    m = told.features
    if not n or not m:
        return Estimate(None, None)
    memory = _LIBRARIES + _COPIES * run.repetitions * (n + val + test) * m
    steps = _steps(run, n, told.task or "binary")
    if steps is None or isinstance(model, Exact) or not is_linear_first(model):
        return Estimate(None, memory)
    layers = jax.eval_shape(lambda: model.init(jax.random.key(0), m, 1))
    width = layers[0]["w"].shape[0]
    each = n * m * max(8 * width / _ARITHMETIC, 16 / _MEMORY) * slowness()
    inner = run.attack.options.get("inner_steps", 0) or run.trainer.options.get("epochs", 0)
    memory += 4 * (6 * n * m + 2 * inner * width * m + inner * n * width)
    return Estimate(_BEGIN + run.repetitions * steps * each, memory)


def _steps(run: Run, n: int, task: Any) -> float | None:
    """Training steps of a run, a step back through one counted as three; None where a search decides."""
    try:
        stages = len(counts_of(dataclasses.replace(run, n_train=n), task))
    except PoisonError:  # a fraction of less than a row, which the cell itself says
        return None
    options, epochs = run.attack.options, run.trainer.options.get("epochs", 0)
    victim = stages * epochs / 3
    if "outer_steps" not in options:
        return victim if run.attack.name in ("flip", "given", "statp") else None
    inner = options.get("inner_steps", 0) or epochs
    if not inner or not epochs:  # found from the rows
        return None
    twice = (
        options.get("normalize") == "objectives" and options.get("alpha", 1) < 1
    )  # a first attack sets the scale
    return victim + (1 + twice) * (stages - 1 + bool(run.learn_lambda)) * options["outer_steps"] * inner


@functools.cache
def slowness() -> float:
    """How many times as long as on the machine of the constants reading rows takes here: the least of a few."""
    x, w = np.ones(_PROBE, np.float32), np.ones(_PROBE[1], np.float32)
    seconds = math.inf
    for _ in range(5):
        begun = time.perf_counter()
        np.dot(x, w)
        seconds = min(seconds, time.perf_counter() - begun)
    return seconds / (x.nbytes / _MEMORY)


def total(each: list[Estimate]) -> str:
    """The time of all runs one after another, in words."""
    known = [one.seconds for one in each if one.seconds is not None]
    unknown = len(each) - len(known)
    more = f", and {_runs(unknown)} whose time is unknown" if unknown else ""
    return f"{_runs(len(each))}: about {_duration(sum(known))} one after another{more}; rough, from sizes and steps"


def _runs(count: int) -> str:
    return f"{count} run{'s' if count != 1 else ''}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
