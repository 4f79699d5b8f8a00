"""How a bilevel attack divides its work: repetitions batched as memory allows, calls short enough to watch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from poisoncli.core.attack import Poison, Problem
from poisoncli.core.errors import PoisonError
from poisoncli.core.victim import Objective, is_linear_first
from poisoncli.tables import memory
from poisoncli.training import devices
from poisoncli.training.footprint import footprint

CPU_MEMORY = 2**30  # bytes that the arrays of one group of repetitions may take, roughly
ADJOINT = 8  # times the parameters, what going backward through a step holds at once, measured on a wide layer
CALL_SECONDS = 1.0  # aim for one compiled call
SHORT_SECONDS = 0.05  # an outer step of several settings below it takes longer to start than to compute


class Part(NamedTuple):
    """One stage of one group of repetitions, from outer step `first` on."""

    group: slice
    stage: int
    first: int


class Schedule(NamedTuple):
    """Groups of repetitions, and how each is computed.

    groups: consecutive repetitions, all groups of one size, so that one compiled function serves all; on several
    devices as they can share them.
    stages: the stages that need work; outer_steps: of each stage.
    span: outer steps in one compiled call, a divisor of outer_steps.
    store: whether the first layer's products are kept, and segments: see `reverse.reverse`.
    """

    groups: tuple[slice, ...]
    stages: tuple[int, ...]
    outer_steps: int
    span: int
    store: bool
    segments: int = 1

    @property
    def total(self) -> int:
        return len(self.groups) * len(self.stages) * self.outer_steps

    def check(self, poison: Poison, passes: int = 1) -> None:
        """Raise `PoisonError` where `poison`, to go on from, was crafted in other groups."""
        if poison.total != self.total * passes:
            raise PoisonError(
                "the checkpoint divides its work otherwise: go on with as many --devices as it had, or start anew"
            )

    def parts(self, done: int) -> Iterator[Part]:
        """What is left after `done` steps, in order."""
        begun, first = divmod(done, self.outer_steps)
        every = [(group, stage) for group in self.groups for stage in self.stages]
        for group, stage in every[begun:]:
            yield Part(group, stage, first)
            first = 0


def make_schedule(
    problem: Problem, inner_steps: int, outer_steps: int, size: int = 0, last: int = 0, trail: int = 0
) -> Schedule:
    """Divide the work; sizes are estimates, and the result depends on the problem and the device alone.

    size: rows of a training step, 0 for all. last: training steps to differentiate through, 0 for all.
    trail: numbers that are kept of each outer step, beside the loss.
    Raises `PoisonError` where a single repetition would need more memory than there is.
    """
    counts = problem.threat.counts
    repetitions, n, m = problem.train.x.shape
    kept = 3 * repetitions * (counts[-1] * m + len(counts) * outer_steps * (1 + trail))  # of the poison, and copies
    if not is_linear_first(problem.objective.model):
        _check_room(problem.train.x.dtype.itemsize * problem.settings * kept)
        return _of_any_model(problem, inner_steps, outer_steps, size)
    layers = jax.eval_shape(lambda: problem.objective.init(jax.random.key(0), m))
    width, number = layers[0]["w"].shape[0], problem.train.x.dtype.itemsize
    room = _memory()
    differentiated = min(last or inner_steps, inner_steps)
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(layers))
    least = 6 * n * m + (3 * differentiated + ADJOINT) * parameters + 2 * differentiated * width * counts[1]
    _check_room(number * problem.settings * (kept + least))
    store = store_products(inner_steps, n, m, width, counts[1], size)
    seen = size or n
    each = number * (6 * n * m + 2 * inner_steps * width * (m + counts[1]) + inner_steps * seen * width * store)
    each *= problem.settings
    seconds = inner_steps * problem.settings * seen * m * max(8 * width / 150e9, 16 / 40e9)  # on two CPU cores
    slow = problem.settings > 1 and jax.devices()[0].platform == "cpu"  # where stacks of few vectors are slow
    longest = SHORT_SECONDS if slow else math.inf
    size = max(d for d in _divisors(repetitions) if d == 1 or (d * each <= room and d * seconds <= longest))
    span = max(d for d in _divisors(outer_steps) if d == 1 or d * size * seconds <= CALL_SECONDS)
    groups = tuple(slice(r, r + size) for r in range(0, repetitions, size))
    if devices.count() > 1:
        groups = devices.groups(repetitions, size)
    stages = tuple(range(0 if np.any(problem.learn) else 1, len(counts)))
    return Schedule(groups, stages, outer_steps, span, store)


def _of_any_model(problem: Problem, inner_steps: int, outer_steps: int, size: int) -> Schedule:
    """One repetition and one outer step at a time; the trace in segments where it would not fit, see `unrolled`."""
    x = problem.train.x
    _, n, m = x.shape
    segments = segments_of(problem.objective, inner_steps, size or n, m, x.dtype, problem.settings)
    groups = devices.groups(len(x), 1)
    stages = tuple(range(0 if np.any(problem.learn) else 1, len(problem.threat.counts)))
    return Schedule(groups, stages, outer_steps, 1, False, segments)


def segments_of(objective: Objective, inner_steps: int, seen: int, m: int, dtype: Any, settings: int = 1) -> int:
    """In how many segments the trace of a model is kept whose first layer is not linear, see `unrolled`.

    seen: rows of m features in a training step.
    """
    parameters, activations = footprint(objective, m, dtype)
    needed = 3 * inner_steps * parameters + 2 * seen * (activations + m)
    kept = needed * settings * np.dtype(dtype).itemsize <= _memory()
    return 1 if kept else math.ceil(math.sqrt(2 * inner_steps))


def _check_room(needed: int) -> None:
    """Raise `PoisonError` where an attack needs more bytes than this device has for it."""
    cure = "take fewer -o inner_steps, -o outer_steps or rows, or a smaller model"
    if jax.devices()[0].platform == "cpu":
        memory.check(needed, "the attack", cure)
    elif needed > 4 * _memory():
        raise PoisonError(f"the attack needs about {needed / 2**30:,.3g} GiB on the accelerator: {cure}")


def settings_that_fit(problem: Problem, inner_steps: int) -> int:
    """How many settings of lambda may be solved together, at least 1: as many as the memory holds."""
    _, n, m = problem.train.x.shape
    if not is_linear_first(problem.objective.model):
        return 1
    layers = jax.eval_shape(lambda: problem.objective.init(jax.random.key(0), m))
    width, free = layers[0]["w"].shape[0], problem.threat.counts[1]
    each = 4 * (6 * n * m + 2 * inner_steps * width * (m + free) + inner_steps * n * width)
    return max(1, _memory() // each)


def check_memory(hypergradient: str, problem: Problem) -> None:
    """Raise `PoisonError` where a method of HLP Table II needs more memory than there is, with the estimate."""
    m = problem.train.x.shape[2]
    layers = jax.eval_shape(lambda: problem.objective.init(jax.random.key(0), m))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(layers))
    numbers = problem.threat.counts[1] * m + problem.log_lambda.shape[1]
    moving = parameters + 2 * problem.threat.counts[-1] * m  # the block with the free rows moves with each of them
    needed = {"forward": numbers * moving * 4, "exact": parameters**2 * 4}.get(hypergradient, 0)
    if needed > 4 * _memory():
        raise PoisonError(
            f"{hypergradient} hypergradients of {numbers:,} free numbers and {parameters:,} parameters need about "
            f"{needed / 1e9:,.0f} GB: use --hypergradient reverse"
        )


def store_products(inner_steps: int, n: int, m: int, width: int, free: int, size: int = 0) -> bool:
    """Whether the first layer's products of all training steps fit the memory; see `hypergradient.reverse`."""
    others = 6 * n * m + 2 * inner_steps * width * (m + free)
    return 4 * (others + inner_steps * (size or n) * width) <= _memory()


def _divisors(number: int) -> list[int]:
    low = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return sorted({*low, *(number // d for d in low)})


def _memory() -> int:
    """Bytes that a group may take: a quarter of an accelerator's memory, or `CPU_MEMORY`."""
    device = jax.devices()[0]
    limit = (device.memory_stats() or {}).get("bytes_limit", 0) if device.platform != "cpu" else 0
    return limit // 4 or CPU_MEMORY
