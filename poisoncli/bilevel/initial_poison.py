"""Where attacks start: copies of the training rows that they replace."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Array, Data
from poisoncli.core.errors import PoisonError
from poisoncli.core.random import generator
from poisoncli.core.victim import predict
from poisoncli.training.descent import fit
from poisoncli.training.layout import lay_out

_LABELS_KEY = 2**31 - 1  # what the key is folded with; repetitions take 0, 1, ...
LABELS = ("other", "nearest", "least-likely")  # of poison among more than two classes, see `Problem`


def copies(key: Array, problem: Problem, outer_steps: int) -> Poison:
    """Rows drawn without replacement, as they are (SPR Appendix C, `initDp`).

    Returns a `Poison` with none of its steps done and room for `outer_steps` target losses a stage.
    """
    x, y = np.asarray(problem.train.x), np.asarray(problem.train.y)
    counts = np.asarray(problem.threat.counts)
    index = np.stack([_drawn(jax.random.fold_in(key, r), problem, one, counts[-1]) for r, one in enumerate(y)])
    stages = len(counts)
    return Poison(
        x=np.take_along_axis(x, index[:, :, None], axis=1),
        y=np.take_along_axis(y, index, axis=1),
        replaced=index,
        counts=counts,
        log_lambda=np.repeat(problem.log_lambda[:, None], stages, axis=1).astype(x.dtype),
        loss=np.full((len(problem.log_lambda), stages, outer_steps), np.nan, x.dtype),
        done=0,
        total=0,
    )


def _drawn(key: Array, problem: Problem, y: np.ndarray, count: int) -> np.ndarray:
    """`count` rows of those with targets y [n], none of the class that all poison has."""
    order = generator(key).permutation(len(y))
    if isinstance(problem.poison_label, int):
        order = order[y[order] != problem.poison_label]
        if len(order) < count:
            raise PoisonError(
                f"{count} rows would be poisoned, but only {len(order)} are not of the class that poison shall "
                "have: lower --fraction, or name another --poison-label"
            )
    return order[:count]


def flipped_copies(key: Array, problem: Problem, outer_steps: int) -> Poison:
    """`copies` with another label (HLP III-C), or with real targets at the bound farther from them."""
    poison = copies(key, problem, outer_steps)
    if problem.task == "real":
        return poison._replace(y=opposite(poison.y, problem))
    if problem.objective.outputs == 1:
        return poison._replace(y=1 - poison.y)
    return poison._replace(y=_other_labels(jax.random.fold_in(key, _LABELS_KEY), problem, poison))


def _other_labels(key: Array, problem: Problem, poison: Poison) -> np.ndarray:
    """For each of more than two classes y [repetitions, points] another one, as `Problem.poison_label` says."""
    y, classes = poison.y, problem.objective.outputs
    if isinstance(problem.poison_label, int):
        return np.full_like(y, problem.poison_label)
    if problem.poison_label == "other":
        return (y + generator(key).integers(1, classes, y.shape)).astype(y.dtype) % classes
    output = np.take_along_axis(_clean_outputs(key, problem), poison.replaced[:, :, None], axis=1)
    nearest = problem.poison_label == "nearest"
    np.put_along_axis(output, y[:, :, None].astype(int), -np.inf if nearest else np.inf, axis=2)
    return (output.argmax(2) if nearest else output.argmin(2)).astype(y.dtype)


def _clean_outputs(key: Array, problem: Problem) -> np.ndarray:
    """Logits [repetitions, n, classes] of the clean training rows by the victim that is trained on them.

    A lambda that is learned counts as none.
    """
    objective, settings = problem.objective, problem.settings
    log_lambda = np.where(problem.learn[:1, None], -np.inf, problem.log_lambda[::settings])

    def one(key: Array, train: Data, log_lambda: Array) -> Array:
        start = objective.init(key, train.x.shape[1], train.x.dtype)
        params = fit(objective, problem.trainer, start, log_lambda, lay_out(train))
        return predict(objective.model, params, train.x)

    train = jax.tree.map(jnp.asarray, problem.train)
    keys = jax.random.split(key, len(problem.train.y))
    return np.array(jax.jit(jax.vmap(one))(keys, train, jnp.asarray(log_lambda, train.x.dtype)))


def opposite(y: np.ndarray, problem: Problem) -> np.ndarray:
    """For real targets y [repetitions, points]: of the two bounds of the domain, the one farther away."""
    low, high = (np.asarray(bound)[:, None] for bound in (problem.threat.y_low, problem.threat.y_high))
    return np.where(y - low > high - y, low, high).astype(y.dtype)


def other_class(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
    """For each of `labels` [k] a random row of x [n, m] that has the other label, none twice if there are enough.

    Returns [k, m], or None where x lacks a class that is needed.
    """
    chosen = np.empty(len(labels), int)
    for label in np.unique(labels):
        others = rng.permutation(np.flatnonzero(y != label))
        if not len(others):
            return None
        chosen[labels == label] = np.resize(others, np.sum(labels == label))
    return x[chosen]
