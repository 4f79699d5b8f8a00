"""StatP: random rows at the corners of the domain, with wrong targets (Jagielski et al. 2018; SPR II)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.bilevel.initial_poison import copies, opposite
from poisoncli.bilevel.stealth import fit_clean
from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Array, Task
from poisoncli.core.method import method, option
from poisoncli.core.random import generator
from poisoncli.core.victim import predict


@method
class StatP:
    """Rows drawn from a Gaussian fitted to the training rows, rounded to the corners of the clean rows' range.

    The clean model is asked for their targets, and they get the farther end of the targets' range.

    batch: rows replaced at a stage; 0 means 7.5 % of the training rows.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("real",)
    victims: ClassVar[tuple[str, ...]] = ("linear", "mlp")
    tuned: ClassVar[tuple[str, ...]] = ("batch",)
    finish: ClassVar[str] = "round"

    batch: int = option(0, low=0)

    def craft(self, key: Array, problem: Problem, resume: Poison | None = None) -> Iterator[Poison]:
        poison = copies(jax.random.fold_in(key, 0), problem, outer_steps=0)
        repetitions, points, _ = poison.x.shape
        keys = jax.random.split(jax.random.fold_in(key, 1), repetitions)
        log_lambda = jnp.asarray(problem.log_lambda)
        clean_fit = fit_clean(keys, problem.objective, problem.trainer, problem.train, log_lambda)
        x = np.empty_like(poison.x)
        for r in range(repetitions):
            rows = np.asarray(problem.train.x[r], float)
            rng = generator(jax.random.fold_in(key, 2 + r))
            drawn = rng.multivariate_normal(rows.mean(0), np.atleast_2d(np.cov(rows, rowvar=False)), points)
            low, high = problem.train.x[r].min(0), problem.train.x[r].max(0)
            x[r] = np.where(drawn > (low + high) / 2, high, low)
        predicted = jax.vmap(lambda p, rows: predict(problem.objective.model, p, rows))(
            clean_fit.params, jnp.asarray(x)
        )
        yield poison._replace(x=x, y=opposite(np.asarray(predicted), problem), done=1, total=1)
