"""One hypergradient of the convolutional network: 1,000 rows, 50 of them free, against plain PyTorch's.

`python -m benchmarks --networks` prints the table: T = 100 by both, alternating, each in processes of its own, and
what our compiled programs take at 100, 400 and 1,600 steps. `--child network poison 100` is one measurement.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

CLASSES, ROWS, FREE, TARGETS, RATE = 10, 1000, 50, 200, 0.1
STEPS, LONGER = 100, (400, 1600)
ROUNDS = 2


def networks(child: Callable[..., dict[str, Any]]) -> None:
    """Print the table; child: measures in a fresh process."""
    print(f"{'cnn, one hypergradient':24} {'rival':8} {'least s':>8} {'of a core':>10} {'peak MB':>8}")
    found: dict[str, list[dict[str, Any]]] = {}
    for rival in ("poison", "torch") * ROUNDS:
        found.setdefault(rival, []).append(child("network", rival, str(STEPS)))
    for rival, every in found.items():
        seconds, busy = (min(one[name] for one in every) for name in ("seconds", "core"))
        peak = max(one["peak_mb"] for one in every)
        print(f"{f'T={STEPS}':24} {rival:8} {seconds:8.1f} {busy:10.1f} {peak:8.0f}", flush=True)
    for steps in (STEPS, *LONGER):
        one = child("network", "program", str(steps))
        print(f"T={steps}, {one['segments']} segments: the program takes {one['program_mb']:.0f} MB", flush=True)


def network(rival: str, steps: str) -> dict[str, Any]:
    """One measurement in this process: seconds of a call, compiled before, and of a core; and peak memory."""
    x, y, target_x, target_y = pictures()
    if rival == "program":
        compiled, _, cut = program(x, y, target_x, target_y, int(steps))
        return {"segments": cut, "program_mb": compiled.memory_analysis().temp_size_in_bytes / 1e6}
    maker = with_torch if rival == "torch" else with_poison
    call = maker(x, y, target_x, target_y, int(steps))
    begun, busy = time.perf_counter(), time.process_time()
    call()
    seconds, core = time.perf_counter() - begun, time.process_time() - busy
    scale = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6
    return {"seconds": seconds, "core": core, "peak_mb": peak}


def pictures() -> tuple[np.ndarray, ...]:
    """Random pictures of MNIST's size, of ten classes; time does not depend on what they show."""
    rng = np.random.default_rng(0)
    x = rng.random((ROWS + TARGETS, 784)).astype(np.float32) * (rng.random((ROWS + TARGETS, 784)) < 0.27)
    y = rng.integers(0, CLASSES, ROWS + TARGETS).astype(np.float32)
    return x[:ROWS].astype(np.float32), y[:ROWS], x[ROWS:].astype(np.float32), y[ROWS:]


def with_poison(
    x: np.ndarray, y: np.ndarray, target_x: np.ndarray, target_y: np.ndarray, steps: int
) -> Callable[[], Any]:
    """A call of the compiled program."""
    import jax

    compiled, problem, _ = program(x, y, target_x, target_y, steps)
    return lambda: jax.block_until_ready(compiled(problem))


def program(
    x: np.ndarray, y: np.ndarray, target_x: np.ndarray, target_y: np.ndarray, steps: int
) -> tuple[Any, Any, int]:
    """The compiled program, the problem that it takes, and in how many segments it keeps the trace.

    The last `FREE` rows are free; the number of segments is the schedule's.
    """
    import jax
    import jax.numpy as jnp

    from poisoncli.bilevel.bilevel_problem import BilevelProblem
    from poisoncli.bilevel.reverse import reverse
    from poisoncli.bilevel.schedule import segments_of
    from poisoncli.core.data import Data
    from poisoncli.core.losses import softmax_cross_entropy
    from poisoncli.core.victim import Block, Objective, Rows
    from poisoncli.models.cnn import CNN
    from poisoncli.training.layout import compress
    from poisoncli.training.trainers import SGD

    objective = Objective(CNN(), softmax_cross_entropy, "none", float(ROWS), outputs=CLASSES)
    free = jnp.asarray(x[-FREE:])
    rows = Rows((compress(x[:-FREE]), Block(free, free.T, None)), jnp.asarray(y), jnp.ones(ROWS))
    target = Data(jnp.asarray(target_x), jnp.asarray(target_y), jnp.ones(TARGETS))
    start = objective.init(jax.random.key(0), 784)
    problem = BilevelProblem(objective, SGD(RATE, steps), start, jnp.zeros(1), rows, target, FREE)
    cut = segments_of(objective, steps, ROWS, 784, x.dtype)
    call = jax.jit(reverse, static_argnames=("store", "segments"))
    compiled = call.lower(problem, store=False, segments=cut).compile()
    return compiled, problem, cut


def with_torch(
    x: np.ndarray, y: np.ndarray, target_x: np.ndarray, target_y: np.ndarray, steps: int
) -> Callable[[], Any]:
    """The same network and training, with the whole graph kept, as a user would write it."""
    import torch
    import torch.nn.functional as F

    def images(rows: torch.Tensor) -> torch.Tensor:
        return rows.reshape(-1, 1, 28, 28)

    def output(params: list[torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
        h = images(rows)
        for k in (0, 2):
            h = F.avg_pool2d(F.leaky_relu(F.conv2d(h, params[k], params[k + 1], padding="same")), 2)
        h = F.leaky_relu(F.linear(h.flatten(1), params[4], params[5]))
        return F.linear(h, params[6], params[7])

    shapes = ((6, 1, 5, 5), (16, 6, 5, 5), (64, 784), (CLASSES, 64))

    def once() -> Any:
        torch.manual_seed(0)
        params: list[torch.Tensor] = []
        for shape in shapes:
            weight = torch.nn.init.xavier_uniform_(torch.empty(shape))
            params += [weight.requires_grad_(), torch.full(shape[:1], 0.01).requires_grad_()]
        fixed, free = torch.from_numpy(x[:-FREE]), torch.from_numpy(x[-FREE:]).clone().requires_grad_()
        rows, labels = torch.cat([fixed, free]), torch.from_numpy(y).long()
        for _ in range(steps):
            loss = F.cross_entropy(output(params, rows), labels)
            grads = torch.autograd.grad(loss, params, create_graph=True)
            params = [p - RATE * g for p, g in zip(params, grads, strict=True)]
        outer = F.cross_entropy(output(params, torch.from_numpy(target_x)), torch.from_numpy(target_y).long())
        return torch.autograd.grad(outer, free)

    return once
