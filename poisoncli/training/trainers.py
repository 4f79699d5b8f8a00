"""How the victim is trained: gradient descent, momentum, Adam; on all rows or in mini-batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
import optax

from poisoncli.core.data import Array
from poisoncli.core.method import method, option
from poisoncli.core.victim import Trainer

SCHEDULES = ("constant", "linear", "cosine")


@method
class SGD:
    """Gradient descent, with all rows in every step (HLP V-A) or with mini-batches (RCH Table 3).

    rate: step size, at most 100; 0 takes the one that fits the curvature of the loss on the clean rows.
    epochs: passes over the rows; 0 means as many as it takes until the loss on the clean rows has settled: to a
    hundredth of its start, and to a ten-thousandth if the model is convex.
    size: rows of a mini-batch, in one fixed random order; 0 means all rows, one step a pass.
    schedule: the step size stays `constant`, or falls to zero on a `linear` or a `cosine` way.
    """

    tuned: ClassVar[tuple[str, ...]] = ("rate", "epochs")

    rate: float = option(0.1, low=0, high=100)
    epochs: int = option(default=140, low=0)
    size: int = option(default=0, low=0)
    schedule: str = option(default="constant", choices=SCHEDULES)

    def rate_for(self, curvature: float) -> float:
        """1 / curvature: the largest step that is sure to descend (Nesterov 2004, section 1.2.3)."""
        return 1 / curvature

    def optimizer(self, steps: int) -> optax.GradientTransformation:
        return optax.sgd(_scheduled(self, steps))


@method
class Momentum:
    """Gradient descent with heavy-ball momentum (Polyak 1964).

    rate: step size, at most 100; 0 as for `sgd`.
    momentum: share of the last step that is kept, in [0, 1].
    epochs, size, schedule: as for `sgd`.
    """

    tuned: ClassVar[tuple[str, ...]] = ("rate", "epochs")
    gain: ClassVar[float] = 10.0  # 1 / (1 - momentum), with the usual momentum

    rate: float = option(0.01, low=0, high=100)
    momentum: float = option(default=0.9, low=0, high=1)
    epochs: int = option(default=140, low=0)
    size: int = option(default=0, low=0)
    schedule: str = option(default="constant", choices=SCHEDULES)

    def rate_for(self, curvature: float) -> float:
        """1 / curvature; heavy balls converge below 2 (1 + momentum) / curvature (Polyak 1964)."""
        return 1 / curvature

    def optimizer(self, steps: int) -> optax.GradientTransformation:
        return optax.sgd(_scheduled(self, steps), momentum=self.momentum)


@method
class Adam:
    """Adam (Kingma and Ba 2015), with its usual decay rates; smooth where a gradient is zero.

    rate: step size, at most 100; 0 as for `sgd`.
    epochs, size, schedule: as for `sgd`.
    """

    tuned: ClassVar[tuple[str, ...]] = ("epochs",)

    rate: float = option(0.01, low=0, high=100)
    epochs: int = option(default=140, low=0)
    size: int = option(default=0, low=0)
    schedule: str = option(default="constant", choices=SCHEDULES)

    def rate_for(self, curvature: float) -> float:
        """0.01: Adam's steps do not depend on the size of the loss."""
        return 0.01

    def optimizer(self, steps: int) -> optax.GradientTransformation:
        return optax.adam(_scheduled(self, steps), eps_root=1e-12)  # else the root has no derivative at zero


TRAINERS: dict[str, type] = {"sgd": SGD, "momentum": Momentum, "adam": Adam}


def surrogate(victim: Trainer, name: str, rate: float, epochs: int, size: int) -> Trainer:
    """How an attacker takes the victim to be trained, who need not know it.

    name: of the trainer, or `victim` for the victim's; rate, epochs: 0 for the victim's; size: -1 for the victim's.
    """
    fields: Any = {
        "rate": rate or victim.rate,
        "epochs": epochs or victim.epochs,
        "size": victim.size if size < 0 else size,
    }
    if name == "victim" or isinstance(victim, TRAINERS[name]):
        return dataclasses.replace(victim, **fields)  # type: ignore[type-var]
    return TRAINERS[name](**fields)


def _scheduled(trainer: Trainer, steps: int) -> Array | Callable[[Array], Array]:
    """The step size, or as a function of the number of the step where it falls."""
    if trainer.schedule == "linear":
        return lambda t: trainer.rate * (1 - jnp.asarray(t, jnp.result_type(trainer.rate)) / steps)
    if trainer.schedule == "cosine":
        angle = np.pi / steps
        return lambda t: trainer.rate * 0.5 * (1 + jnp.cos(angle * jnp.asarray(t, jnp.result_type(trainer.rate))))
    return trainer.rate


def steps_of(trainer: Trainer, n: int) -> int:
    """Number of steps of a training on n rows."""
    return trainer.epochs * batches_of(trainer, n)


def batches_of(trainer: Trainer, n: int) -> int:
    """Number of steps of a pass over n rows."""
    return -(-n // trainer.size) if trainer.size else 1
