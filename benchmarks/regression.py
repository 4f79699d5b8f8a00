"""Defenses of regression on 10,000 x 16 rows, and whole curves of the stealthy attack, against limits of time.

The first call of a defense counts too: it imports, and compiles. Times are also given in units of one training of
the victim on the same rows in the same process, which a busy machine slows as much.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROWS, FEATURES = 10_000, 16
LIMITS = {"trim": 2.0, "huber": 2.0, "sever": 2.0, "proda": 20.0, "duti": 20.0, "bayesclean": 2.0}  # seconds
CURVES = {"boston": 60.0, "heart": 90.0, "loan": 180.0}  # seconds for 10 repetitions, 7 fractions, alpha = 1


def defenses(child: Callable[..., dict[str, Any]]) -> None:
    """Print a line for each defense; each runs in a process of its own."""
    print(f"\n{'10,000 x 16 rows':18} {'first s':>8} {'of CPU':>8} {'later s':>8} {'trainings':>10} {'limit s':>8}")
    for name, limit in LIMITS.items():
        found = child("defense", name)
        units = found["later"] / found["training"]
        print(
            f"{name:18} {found['first']:8.2f} {found['cpu']:8.2f} {found['later']:8.2f} {units:10.1f} {limit:8.0f}",
            flush=True,
        )


def curves(child: Callable[..., dict[str, Any]]) -> None:
    """Print a line for each data set that is at hand; loan's rows are random ones of its shape."""
    print(f"\n{'whole curve':18} {'attack s':>8} {'evaluate s':>10} {'limit s':>8} {'used':>6}")
    for name, limit in CURVES.items():
        found = child("curve", name)
        if "absent" in found:
            print(f"{name:18} {found['absent']}")
            continue
        total = found["attack"] + found["evaluate"]
        print(
            f"{name:18} {found['attack']:8.1f} {found['evaluate']:10.1f} {limit:8.0f} {total / limit:6.0%}",
            flush=True,
        )


def defense(name: str) -> dict[str, Any]:
    """Seconds of the first call, on the clock and of the processors; of the fastest of three later ones, and of one
    training of the victim."""
    import jax

    from poisoncli.core.data import Data
    from poisoncli.core.defense import Clues, Learner
    from poisoncli.core.losses import ROW_LOSS
    from poisoncli.core.victim import Objective
    from poisoncli.models import MODELS
    from poisoncli.runs.description import Choice, build, resolve_defense
    from poisoncli.training.descent import fit
    from poisoncli.training.layout import lay_out
    from poisoncli.training.trainers import SGD

    data, trusted = _rows()
    objective, trainer = Objective(MODELS["linear"](), ROW_LOSS["real"], "none", 1.0), SGD(0.2, 70)
    learner = Learner(objective, trainer, np.full(1, -np.inf, np.float32), "real")
    key = jax.random.key(0)
    method = build(resolve_defense(Choice(name)), "defense")

    def weigh() -> Any:
        return method.weigh(key, data, learner, Clues(trusted, 0.3))

    train = jax.jit(
        lambda rows: fit(objective, trainer, objective.model.init(key, FEATURES), learner.log_lambda, rows)
    )
    rows = lay_out(Data(*data))
    begun = time.process_time()
    first = _timed(weigh)
    cpu = time.process_time() - begun
    later = min(_timed(weigh) for _ in range(3))
    jax.block_until_ready(train(rows))
    training = min(_timed(lambda: jax.block_until_ready(train(rows))) for _ in range(5))
    return {"first": first, "cpu": cpu, "later": later, "training": training}


def curve(name: str) -> dict[str, Any]:
    """Seconds of attack and evaluation of a data set's whole curve at its default settings."""
    import poisoncli
    from poisoncli.core.errors import PoisonError
    from poisoncli.runs.description import Choice, Run

    with tempfile.TemporaryDirectory() as folder:
        data_dir = _loan(Path(folder)) if name == "loan" else None
        run = Run(dataset=Choice(name), repetitions=10)
        begun = time.perf_counter()
        try:
            path = poisoncli.attack(run, Path(folder) / "run.h5", data_dir=data_dir)
        except PoisonError as error:
            return {"absent": str(error).split(":")[0]}
        between = time.perf_counter()
        poisoncli.evaluate(path, data_dir=data_dir)
        return {"attack": between - begun, "evaluate": time.perf_counter() - between}


def _rows() -> tuple[Any, Any]:
    """Training rows, 30 % of them above the plane, and trusted rows."""
    from poisoncli.core.data import Data

    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS + 3000, FEATURES)).astype(np.float32)
    y = x @ rng.standard_normal(FEATURES) + 0.5 * rng.standard_normal(len(x))
    y[: int(0.3 * ROWS)] += 3
    y = ((y - y.mean()) / y.std()).astype(np.float32)
    ones = np.ones(len(x), np.float32)
    return Data(x[:ROWS], y[:ROWS], ones[:ROWS]), Data(x[ROWS:], y[ROWS:], ones[ROWS:])


def _loan(folder: Path) -> str:
    """A data folder with random rows of the shape of Jagielski's loan-processed.csv."""
    (folder / "loan").mkdir()
    rng = np.random.default_rng(0)
    x = rng.random((6722, 88))
    y = x @ rng.standard_normal(88) + 0.5 * rng.standard_normal(len(x))
    header = ",".join(["InterestRate", *(f"f{i}" for i in range(88))])
    np.savetxt(folder / "loan" / "loan-processed.csv", np.c_[y, x], "%.4f", ",", header=header, comments="")
    return str(folder)


def _timed(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
