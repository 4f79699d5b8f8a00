"""Proda: many small groups, one of which is clean (Wen et al. 2021; SPR II)."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.core.data import Array, Data, Params, Task
from poisoncli.core.defense import Clues, Learner, Verdict
from poisoncli.core.method import method, option
from poisoncli.core.victim import Objective, Trainer, predict
from poisoncli.defenses.rejection import dense, rejected, share
from poisoncli.tables import memory
from poisoncli.training.descent import fit
from poisoncli.training.layout import lay_out
from poisoncli.training.trainers import SGD


@method
class Proda:
    """Trains on many random groups of rows, then on the rows that each of these models fits best.

    The model with the least mean loss on its rows decides which rows stay. There are so many groups that with
    probability 1 - epsilon one holds no poison, if the fraction is right. All groups are trained as one batch;
    a group of a linear model on which the trainer's step size would diverge takes a smaller one.

    fraction: share of the rows to reject, in [0, 1) (SPR Appendix E: 0.4).
    size: rows in a group, at least 1 (gamma_Proda).
    epsilon: bound on the probability that no group is clean, in (0, 1) (epsilon_Proda).
    told: reject the true number of poison rows instead of the fraction.
    """

    usual_for: ClassVar[tuple[Task, ...]] = ("real",)

    fraction: float = option(0.4, low=0, high=1)
    size: int = option(5, low=1)
    epsilon: float = option(1e-5, above=0, high=1)
    told: bool = False

    def knows(self) -> str:
        return share(self.fraction, self.told)

    def weigh(self, key: Array, data: Data, learner: Learner, clues: Clues) -> Verdict:
        """See `Defense.weigh`; the score is the row's loss under the last model."""
        n = len(data.y)
        keep = n - rejected(n, self.fraction, self.told, clues)
        size, count = min(self.size, n), self.groups(keep / n)
        needed = 16.0 * count * (n + size * (data.x.shape[1] + 2))
        memory.check(needed, f"proda with {count:,} groups", "choose a smaller -o size or -o fraction")
        draw, start = jax.random.split(key)
        picked = jnp.argsort(jax.random.uniform(draw, (count, n)), axis=1)[:, :size]
        rows = Data(jnp.asarray(dense(data.x)), jnp.asarray(data.y), jnp.asarray(data.weight))
        weight, loss = _proda(start, *learner[:3], rows, picked, keep)
        return Verdict(np.asarray(weight), np.asarray(loss), {})

    def groups(self, clean: float) -> int:
        """How many groups there must be if a share `clean` of the rows is clean (Wen et al., Theorem 1)."""
        good = clean ** min(self.size, 64)
        return 1 if good >= 1 else max(1, math.ceil(math.log(self.epsilon) / math.log1p(-good)))


@functools.partial(jax.jit, static_argnames="keep")
def _proda(
    key: Array, objective: Objective, trainer: Trainer, log_lambda: Array, rows: Data, picked: Array, keep: int
) -> tuple[Array, Array]:
    """Weights and losses [n] of the best of the groups `picked` [groups, size]."""
    n, m = rows.x.shape
    start = objective.init(key, m, rows.x.dtype)
    whole = lay_out(rows)

    def group(members: Array) -> tuple[Array, Array]:
        few = Data(rows.x[members], rows.y[members], rows.weight[members])
        params = fit(objective, _stable(trainer, few.x, start), start, log_lambda, lay_out(few))
        _, kept = jax.lax.top_k(-losses(params), keep)
        weight = jnp.zeros(n, rows.x.dtype).at[kept].set(1)
        return weight, losses(fit(objective, trainer, start, log_lambda, whole._replace(weight=weight)))

    def losses(params: Array) -> Array:
        found = objective.loss(predict(objective.model, params, rows.x), rows.y)
        return jnp.where(jnp.isfinite(found), found, jnp.finfo(found.dtype).max / n)  # a group may diverge

    weight, loss = jax.vmap(group)(picked)
    best = jnp.argmin(jnp.sum(weight * loss, axis=1))
    return weight[best], loss[best]


def _stable(trainer: Trainer, x: Array, params: Params) -> Trainer:
    """`trainer` with a step size with which gradient descent on a line through the rows x [n, m] converges."""
    if len(params) > 1 or not isinstance(trainer, SGD):
        return trainer
    curvature = jnp.linalg.eigvalsh(x @ x.T + 1)[-1] / len(x)  # the ones are the bias
    return dataclasses.replace(trainer, rate=jnp.where(trainer.rate * curvature < 2, trainer.rate, 1 / curvature))
