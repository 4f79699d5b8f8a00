"""Whether the surrogate that poison was crafted for resembles the victims that are measured, and if not why."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import jax
import numpy as np

from poisoncli.core.data import Data
from poisoncli.core.victim import Exact
from poisoncli.runs import serialize
from poisoncli.runs.prepare import restore
from poisoncli.runs.run_file import RunFile
from poisoncli.training.settle import settle

LOG = logging.getLogger(__name__)
FAR = 0.5  # of the smaller clean error: a larger gap is no likeness
NOISE = 2.0  # standard errors that a gap may have by chance


def check(content: RunFile, data_dir: str | None = None) -> list[str]:
    """What is to be said of a surrogate whose clean error is far from that of the victims; nothing if it is near.

    A gap counts if it is more than half of the smaller error, and of shares more than chance makes of so many rows.
    """
    surrogate = content.evaluations["none"].test_error[:, 0].astype(float)
    key = "nmse" if content.real else "error"
    far, worse = [], False
    for victim in content.victims:
        if "none" not in victim.measures:
            continue
        error = float(victim.measures["none"][key][:, 0].mean())
        if _far(float(surrogate.mean()), error, content):
            worse |= float(surrogate.mean()) > error
            far.append(f"{victim.name} has {_shown(error, content.real)}")
    if not far:
        return []
    name = serialize.from_json(content.run).model.name
    said = (
        f"the surrogate {name} has {_shown(float(surrogate.mean()), content.real)} without poison, where "
        f"{' and '.join(far)}: it is a poor stand-in, and poison made for it may say little of these"
    )
    return [said, *(_training(content, data_dir) if worse else ())]


def _far(one: float, other: float, content: RunFile) -> bool:
    gap, least = abs(one - other), min(one, other)
    if content.real or math.isnan(gap):
        return gap > FAR * least
    rows = content.split["test"].size
    chance = NOISE * math.sqrt((one * (1 - one) + other * (1 - other)) / rows)
    return gap > max(FAR * least, chance)


def _shown(error: float, real: bool) -> str:
    return f"a test NMSE of {error:.3g}" if real else f"{100 * error:.1f} % test error"


def _training(content: RunFile, data_dir: str | None) -> Sequence[str]:
    """Whether the surrogate's training by gradient descent was still under way at its end."""
    prepared = restore(content, data_dir)
    trainer, objective = prepared.trainer, prepared.objective
    if isinstance(objective.model, Exact) or trainer.size or prepared.run.at_optimum:
        return []
    rows = Data(*(np.asarray(leaf)[0] for leaf in prepared.split.train))
    found = settle(jax.random.key(prepared.run.seed), objective, trainer, rows, content.poison.log_lambda[0, 0])
    if found.settled:
        return []
    return [
        f"its training is not at its end: over the last half of {trainer.epochs} epochs the loss fell by "
        f"{found.fall:.0%} of its start, and is {found.loss:.3g}; craft again with more -o trainer.epochs, a "
        "larger -o trainer.rate, or both at 0, which finds them from the rows"
    ]
