"""SEVER: rows whose gradients stick out (Diakonikolas et al. 2019, Algorithms 1 and 2)."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.sparse.linalg

from poisoncli.core.data import Array, Data, Params, Task
from poisoncli.core.defense import Clues, Learner, Verdict
from poisoncli.core.method import method, option
from poisoncli.core.victim import Objective, predict
from poisoncli.defenses.rejection import dense, rejected, share
from poisoncli.training.descent import fit
from poisoncli.training.layout import lay_out
from poisoncli.training.trainers import SGD

LARGEST = 2000  # parameters, or rows, up to which the products of the gradients with each other are formed


@method
class Sever:
    """Trains, projects the centered gradients of the rows on their top singular vector, and drops the largest.

    It does so in several rounds; SPR tells it what to drop in all, the reference code what to drop each
    round. Any model. Rows that it fits exactly have no gradient, whatever their targets: poison rows that share
    a column of their own are found where the model has a penalty, as in the paper's ridge regression.

    fraction: share of the rows to reject in all rounds together, in [0, 1) (SPR Appendix E: 0.4).
    rounds: at least 1.
    told: reject the true number of poison rows instead of the fraction.
    """

    usual_for: ClassVar[tuple[Task, ...]] = ("real",)
    wants_penalty: ClassVar[bool] = True

    fraction: float = option(0.4, low=0, high=1)
    rounds: int = option(4, low=1, high=1000)
    told: bool = False

    def knows(self) -> str:
        return share(self.fraction, self.told)

    def weigh(self, key: Array, data: Data, learner: Learner, clues: Clues) -> Verdict:
        """See `Defense.weigh`; the score is the squared projection in the row's last round."""
        n = len(data.y)
        count = rejected(n, self.fraction, self.told, clues)
        rows = Data(jnp.asarray(dense(data.x)), jnp.asarray(data.y), jnp.asarray(data.weight))
        kept, score = np.ones(n, bool), np.zeros(n)
        for number in range(self.rounds):
            weight = rows.weight * jnp.asarray(kept, rows.weight.dtype)
            params = _train(key, learner.objective, learner.trainer, learner.log_lambda, rows, weight)
            gradients = np.asarray(_gradients(learner.objective, params, rows), float)
            score[kept] = projections(gradients[kept])
            wanted = count * (number + 1) // self.rounds - int(np.sum(~kept))
            order = np.argsort(np.where(kept, -score, np.inf), kind="stable")
            kept[order[:wanted]] = False
        return Verdict(kept.astype(np.float32), score, {})


def projections(gradients: np.ndarray) -> np.ndarray:
    """Squared projections [n] of the centered `gradients` [n, d] on their top right singular vector."""
    centered = gradients - gradients.mean(0)
    n, d = centered.shape
    if d <= LARGEST:
        _, vectors = scipy.linalg.eigh(centered.T @ centered, subset_by_index=(d - 1, d - 1))
        return (centered @ vectors[:, 0]) ** 2
    if n <= LARGEST:  # with the left singular vector u and value s the projections are s u
        (square,), vectors = scipy.linalg.eigh(centered @ centered.T, subset_by_index=(n - 1, n - 1))
        return square * vectors[:, 0] ** 2
    start = np.random.default_rng(0).standard_normal(min(n, d))  # ones are at right angles to centered rows
    top = np.asarray(scipy.sparse.linalg.svds(centered, k=1, v0=start)[2])[0]
    return (centered @ top) ** 2


@jax.jit
def _train(key: Array, objective: Objective, trainer: SGD, log_lambda: Array, rows: Data, weight: Array) -> Params:
    start = objective.init(key, rows.x.shape[1], rows.x.dtype)
    return fit(objective, trainer, start, log_lambda, lay_out(rows)._replace(weight=weight))


@jax.jit
def _gradients(objective: Objective, params: Params, rows: Data) -> Array:
    """Gradients of each row's loss for all parameters, [n, d]."""

    def loss(params: Params, x: Array, y: Array) -> Array:
        return objective.loss(predict(objective.model, params, x[None]), y[None])[0]

    found = jax.vmap(jax.grad(loss), in_axes=(None, 0, 0))(params, rows.x, rows.y)
    return jnp.concatenate([leaf.reshape(len(rows.y), -1) for leaf in jax.tree.leaves(found)], axis=1)
