"""TRIM (Jagielski et al., "Manipulating Machine Learning", IEEE S&P 2018, Algorithm 2)."""

from __future__ import annotations

import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.core.data import Array, Data, Task
from poisoncli.core.defense import Clues, Learner, Verdict
from poisoncli.core.method import method, option
from poisoncli.core.victim import Objective, Trainer, predict
from poisoncli.defenses.rejection import canonical_order, rejected, share
from poisoncli.tables import memory
from poisoncli.training.descent import fit
from poisoncli.training.layout import lay_out


@method
class Trim:
    """Trains on a random subset, keeps the rows with the smallest loss, and repeats until they stay the same.

    Of several random starts the one with the smallest loss on its own rows wins. The result does not depend
    on the order of the rows; it never keeps more or fewer rows than asked. Any model, any loss.

    fraction: share of the rows to reject, in [0, 1) (SPR Appendix E: 0.4).
    starts: random subsets to start from, at least 1.
    rounds: of training and choosing, at most; at least 1.
    told: reject the true number of poison rows instead of the fraction.
    """

    usual_for: ClassVar[tuple[Task, ...]] = ("real",)

    fraction: float = option(0.4, low=0, high=1)
    starts: int = option(4, low=1, high=1000)
    rounds: int = option(50, low=1, high=10_000)
    told: bool = False

    def knows(self) -> str:
        return share(self.fraction, self.told)

    def weigh(self, key: Array, data: Data, learner: Learner, clues: Clues) -> Verdict:
        """See `Defense.weigh`; the score is the row's loss under the last model."""
        n = len(data.y)
        keep = n - rejected(n, self.fraction, self.told, clues)
        memory.check(32.0 * self.starts * n, f"trim with {self.starts:,} starts", "choose fewer -o starts")
        order = canonical_order(data.x, data.y)
        x = data.x[order] if isinstance(data.x, np.ndarray) else data.x[order].toarray()
        ordered = Data(jnp.asarray(x), jnp.asarray(data.y[order]), jnp.asarray(data.weight[order]))
        weight, loss = _trim(key, ordered, *learner[:3], keep, self.starts, self.rounds)
        back = np.argsort(order, kind="stable")
        return Verdict(np.asarray(weight)[back], np.asarray(loss)[back], {})


@functools.partial(jax.jit, static_argnames=("keep", "starts", "rounds"))
def _trim(
    key: Array,
    data: Data,
    objective: Objective,
    trainer: Trainer,
    log_lambda: Array,
    keep: int,
    starts: int,
    rounds: int,
) -> tuple[Array, Array]:
    """Weights and losses [n] of the best start; `keep` rows have weight 1."""
    n, m = data.x.shape
    rows = lay_out(data)
    initial = objective.init(key, m, data.x.dtype)

    def losses(weight: Array) -> Array:
        params = fit(objective, trainer, initial, log_lambda, rows._replace(weight=weight))
        return objective.loss(predict(objective.model, params, data.x), data.y)

    def smallest(loss: Array) -> Array:
        _, kept = jax.lax.top_k(-loss, keep)
        return jnp.zeros(n, data.x.dtype).at[kept].set(1)

    def step(state: tuple) -> tuple:
        number, weight, _, loss = state
        chosen = smallest(loss)
        return number + 1, chosen, weight, losses(chosen)

    def unsettled(state: tuple) -> Array:
        number, weight, before, _ = state
        return (number < rounds) & jnp.any(weight != before)

    def run(key: Array) -> tuple[Array, Array]:
        # the rows with the smallest of random losses are a random subset
        drawn = jax.random.uniform(key, (n,), data.x.dtype)
        state = (jnp.asarray(-1), jnp.full_like(drawn, -1), jnp.full_like(drawn, -2), drawn)
        _, weight, _, loss = jax.lax.while_loop(unsettled, step, state)
        return weight, loss

    weight, loss = jax.vmap(run)(jax.random.split(key, starts))
    best = jnp.argmin(jnp.sum(weight * loss, axis=1))
    return weight[best], loss[best]
