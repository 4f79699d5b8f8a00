"""One hypergradient as the attack computes it."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.problem import Arrays
from poisoncli.bilevel.bilevel_problem import BilevelProblem, Hypergradient
from poisoncli.bilevel.reverse import reverse
from poisoncli.bilevel.schedule import store_products
from poisoncli.core.data import Data
from poisoncli.core.losses import cross_entropy
from poisoncli.core.victim import Block, Objective, Rows
from poisoncli.models import MODELS
from poisoncli.training.layout import compress
from poisoncli.training.trainers import SGD

BUDGET = 1750  # rows that the whole attack replaces; the others are laid out without their empty columns


def hypergradient(arrays: Arrays, hidden: tuple[int, ...], rate: float, steps: int) -> Callable[[], Hypergradient]:
    """A function that computes validation loss and hypergradients once; compiled, and run once."""
    model = MODELS["mlp"](hidden=hidden) if hidden else MODELS["logistic"]()
    free, n, m = len(arrays.free_y), len(arrays.y) + len(arrays.free_y), arrays.x.shape[1]
    clean = n - BUDGET
    last = jnp.asarray(np.concatenate([arrays.x[clean:], arrays.free_x]))
    rows = Rows(
        (compress(arrays.x[:clean]), Block(last, last.T, None)),
        jnp.asarray(np.concatenate([arrays.y, arrays.free_y])),
        jnp.ones(n),
    )
    target = Data(jnp.asarray(arrays.val_x), jnp.asarray(arrays.val_y), jnp.ones(len(arrays.val_y)))
    objective, trainer = Objective(model, cross_entropy, "l2", float(n)), SGD(rate, steps)
    start = model.init(jax.random.key(0), m)
    width = start[0]["w"].shape[0]
    call = jax.jit(reverse, static_argnums=1)

    def once() -> Hypergradient:
        store = store_products(steps, n, m, width, free)
        found = call(BilevelProblem(objective, trainer, start, jnp.ones(1), rows, target, free), store)
        return jax.block_until_ready(found)

    once()
    return once
