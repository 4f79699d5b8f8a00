"""The searches of KSL on Enron: candidates crafted as one array against one after another, and whole searches."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIMITS = {"kkt": 20.0, "minmax": 120.0}  # seconds of a whole search on two quiet cores
FEW = 12  # candidates that are timed by themselves


def searches(child: Callable[..., dict[str, Any]]) -> None:
    """Print a line for each attack; each runs in a process of its own."""
    print(
        f"\n{'Enron':10} {f'{FEW} alone s':>12} {'together s':>11} {'whole s':>8} {'CPU s':>7} {'limit s':>8} "
        f"{'error':>6}"
    )
    for name, limit in LIMITS.items():
        found = child("search", name)
        if "absent" in found:
            print(f"{name:10} {found['absent']}")
            continue
        print(
            f"{name:10} {found['alone']:12.1f} {found['together']:11.1f} {found['whole']:8.1f} {found['cpu']:7.1f} "
            f"{limit:8.0f} {found['error']:6.3f}",
            flush=True,
        )


def search(name: str) -> dict[str, Any]:
    """Seconds of CPU for a few candidates alone and together, seconds and error of the whole search."""
    import numpy as np

    import poisoncli
    from poisoncli.core.errors import MissingDataError
    from poisoncli.runs import run_file
    from poisoncli.runs.description import Choice, Run

    run = Run(dataset=Choice("enron"), attack=Choice(name))
    try:
        with tempfile.TemporaryDirectory() as folder:
            wall, cpu = time.perf_counter(), time.process_time()
            path = poisoncli.attack(run, Path(folder) / "run.h5")
            whole = {"whole": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
            whole["error"] = float(np.nanmax(run_file.read(path).poison.loss))
    except MissingDataError as error:
        return {"absent": str(error)}
    alone, together = _few(run)
    return {**whole, "alone": alone, "together": together}


def _few(run: Any) -> tuple[float, float]:
    """Seconds of CPU for the first candidates, one after another and as one array."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    from poisoncli.runs import description
    from poisoncli.runs.prepare import prepare
    from poisoncli.runs.problem import problem
    from poisoncli.sanitization.additive import evading_set
    from poisoncli.sanitization.search import additions

    prepared = prepare(description.resolve(run))
    attack = description.build(prepared.run.attack, "attack")
    (linear,) = additions(problem(prepared), attack)
    _, shared = attack._plan(linear)
    feasible = evading_set(linear, attack.evades, attack.quantile)

    def crafted(numbers: list[int]) -> None:
        attack._candidates(linear, feasible, shared, numbers, [np.random.default_rng(n) for n in numbers])

    with threadpool_limits(1, user_api="blas"):
        begun = time.process_time()
        for number in range(FEW):
            crafted([number])
        middle = time.process_time()
        crafted(list(range(FEW)))
    return middle - begun, time.process_time() - middle
