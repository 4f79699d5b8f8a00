"""Methods as a user would write them: without a declaration, and without `from __future__ import annotations`."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax

from poisoncli.bilevel.initial_poison import flipped_copies
from poisoncli.core.data import Dataset
from poisoncli.core.defense import Verdict
from poisoncli.core.method import Fixed, method, option


@method
class Shift:
    """Moves flipped copies by a fixed amount; its options happen to be called as those of others."""

    outer_steps: int = 2
    amount: float = option(0.5, low=0, high=1)
    hidden: int = 7

    def craft(self, key, problem, resume=None):
        poison = flipped_copies(key, problem, outer_steps=0)
        yield poison._replace(x=(poison.x + self.amount).clip(0, 1), done=1, total=1)


@method
class Offset:
    """Logistic regression by another name."""

    linear_first = True

    hidden: tuple[int, ...] = (5,)

    def init(self, key, m, outputs=1):
        return [{"w": jnp.zeros((1, m)), "b": jnp.zeros(1)}]

    def output(self, params, h):
        return h[:, 0] + params[0]["b"]


@method
class Signs:
    """Steps of one length."""

    rate: float = 0.25
    epochs: int = 9
    size: int = 0
    schedule: str = "constant"

    def optimizer(self, steps):
        return optax.sign_sgd(self.rate / steps)


@dataclasses.dataclass(frozen=True)
class First:
    """Drops the first row."""

    def knows(self):
        return "nothing"

    def weigh(self, key, data, learner, clues):
        weight = np.ones(len(data.y), np.float32)
        weight[0] = 0
        return Verdict(weight, 1.0 - weight, {})


@dataclasses.dataclass(frozen=True)
class Square:
    """Points of the unit square, left and right."""

    seed: int = 0

    def load(self, data_dir=None):
        x = np.random.default_rng(self.seed).random((200, 2)).astype(np.float32)
        return Dataset(x, (x[:, 0] > 0.5).astype(np.float32), 0.0, 1.0, "binary", "0" * 64)


@method
class Halves:
    """A float that is a leaf, and one that is not."""

    leaf: float
    known: Fixed
