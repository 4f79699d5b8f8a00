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
LIKELY = ("nearest", "least-likely")  # labels that the victim of the clean rows tells
LABELS = ("other", *LIKELY)  # of poison among more than two classes, see `Problem`


def copies(key: Array, problem: Problem, outer_steps: int, start_class: int = -1) -> Poison:
    """Rows drawn without replacement, of one class or of either (-1), as they are (SPR Appendix C, `initDp`).

    Returns a `Poison` with none of its steps done and room for `outer_steps` target losses a stage.
    """
    x, y = np.asarray(problem.train.x), np.asarray(problem.train.y)
    counts = np.asarray(problem.threat.counts)
    index = np.stack(
        [_drawn(jax.random.fold_in(key, r), problem, one, counts[-1], start_class) for r, one in enumerate(y)]
    )
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


def _drawn(key: Array, problem: Problem, y: np.ndarray, count: int, start_class: int = -1) -> np.ndarray:
    """`count` rows of those with targets y [n], none of the class that all poison has.

    start_class: the class that they are of; -1 for any.
    """
    order = generator(key).permutation(len(y))
    if isinstance(problem.poison_label, int):
        order = order[y[order] != problem.poison_label]
        if len(order) < count:
            raise PoisonError(
                f"{count} rows would be poisoned, but only {len(order)} are not of the class that poison shall "
                "have: lower --fraction, or name another --poison-label"
            )
    order = order if start_class < 0 else order[y[order] == start_class]
    if len(order) < count:
        raise PoisonError(
            f"{count} points cannot start as copies of {len(order)} rows: choose a smaller --fraction, or leave "
            "out -o start_class"
        )
    return order[:count]


def flipped_validation(key: Array, problem: Problem, rows: Data, outer_steps: int, start_class: int) -> Poison:
    """Points that are added, copies of `rows` with the other label (HLP Appendix A); see `with_room`."""
    if problem.objective.outputs > 1:
        raise PoisonError(
            "-o place=append is for two classes: use -o place=replace, or pick two with --classes a,b"
        )
    if problem.threat.domain is not None:
        raise PoisonError("-o place=append has no clean row that limits on columns are about: use -o place=replace")
    x, y = np.asarray(rows.x), np.asarray(rows.y)
    poison = copies(key, problem, outer_steps)
    index = np.stack(
        [
            _drawn(jax.random.fold_in(key, r), problem, one, poison.counts[-1], start_class)
            for r, one in enumerate(y)
        ]
    )
    return poison._replace(
        x=np.take_along_axis(x, index[:, :, None], axis=1),
        y=1 - np.take_along_axis(y, index, axis=1),
        replaced=room(problem),
    )


def with_room(problem: Problem) -> Problem:
    """`problem` with training rows of weight 0 behind the others, one for each point that is to be added."""
    points = problem.threat.counts[-1]

    def wider(leaf: np.ndarray) -> np.ndarray:
        return np.pad(leaf, ((0, 0), (0, points), *((0, 0),) * (leaf.ndim - 2)))

    return problem._replace(train=Data(*(wider(np.asarray(leaf)) for leaf in problem.train)))


def filled(problem: Problem, count: int) -> Problem:
    """`with_room` of a problem where the first `count` points are there."""
    weight = np.array(problem.train.weight)
    weight[:, room(problem)[0, :count]] = 1
    return problem._replace(train=problem.train._replace(weight=weight))


def room(problem: Problem) -> np.ndarray:
    """The rows of `with_room` that points take [repetitions, points]."""
    repetitions, n = problem.train.y.shape
    points = problem.threat.counts[-1]
    return np.tile(np.arange(n - points, n), (repetitions, 1))


def as_added(poison: Poison) -> Poison:
    """`poison` for the rows without that room: it replaces none."""
    return poison._replace(replaced=np.full_like(poison.replaced, -1))


def flipped_copies(key: Array, problem: Problem, outer_steps: int, start_class: int = -1) -> Poison:
    """`copies` with another label (HLP III-C), or with real targets at the bound farther from them."""
    poison = copies(key, problem, outer_steps, start_class)
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
