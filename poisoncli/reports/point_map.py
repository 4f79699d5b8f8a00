"""Maps of the plane: what the last poison row does at each place where it could lie (HLP Fig. 1, RCH Fig. 1)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.bilevel.point_map import best, scores
from poisoncli.core.data import Data, Params
from poisoncli.core.errors import PoisonError
from poisoncli.core.losses import ERROR
from poisoncli.core.victim import Exact, predict
from poisoncli.reports import summary
from poisoncli.runs import defaults, serialize
from poisoncli.runs.poisoned import poisoned
from poisoncli.runs.prepare import Prepared, restore
from poisoncli.runs.run_file import RunFile
from poisoncli.training.descent import fit
from poisoncli.training.layout import lay_out

LOG_LAMBDA = np.linspace(-8, 6, 57)  # HLP Appendix A: the range in which the best is looked for
SIDE = 77  # positions along each side


class Map(NamedTuple):
    """One map, of the first repetition at the largest fraction.

    across, up: places [side]; values [side, side] (rows: up), the validation error in [0, 1], or the best
    log_lambda where `is_lambda`; clean, poisoned: logits of the victims trained without and with the row, likewise.
    rows: the other training rows; point: where the attack put the row [2].
    """

    across: np.ndarray
    up: np.ndarray
    values: np.ndarray
    is_lambda: bool
    clean: np.ndarray
    poisoned: np.ndarray
    rows: Data
    point: np.ndarray


def draw(content: RunFile, data_dir: str | None = None, side: int = SIDE) -> Map:
    """Compute the map of a run; where lambda is learned it shows the best lambda, else the validation error.

    Raises `PoisonError` unless the run has two features, classes, one lambda and a bounded domain.
    """
    prepared = restore(content, data_dir)
    m = content.poison.x.shape[2]
    ends = [np.asarray(end, float) for end in (prepared.low, prepared.high)]
    bounded = m == 2 and prepared.task == "binary" and all(np.all(np.isfinite(end)) for end in ends)
    if not bounded or prepared.run.per_layer:
        raise PoisonError("a map needs two features with bounds, two classes and one lambda, such as gaussians has")
    if isinstance(prepared.objective.model, Exact):
        raise PoisonError("a map trains its victims by gradient descent: choose --model logistic when you attack")
    low, high = (np.broadcast_to(end[0] if end.ndim == 2 else end, m) for end in ends)
    if np.any(low == high):
        raise PoisonError("a map needs two features that vary, and one of these is the same in all training rows")
    stage = len(content.poison.counts) - 1
    whole, _, number = poisoned(prepared.split.train, content.poison, stage)
    moved = np.flatnonzero(number[0] == content.poison.counts[stage] - 1)
    order = np.r_[np.delete(np.arange(whole.y.shape[1]), moved), moved]  # the row that moves is the last
    train = Data(*(jnp.asarray(leaf[0][order]) for leaf in whole))
    val = Data(*(jnp.asarray(leaf[0]) for leaf in prepared.split.val))
    across, up = (np.linspace(low[axis], high[axis], side) for axis in range(2))
    places = jnp.asarray(np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2), train.x.dtype)
    log_lambda = content.poison.log_lambda[0, stage]
    is_lambda = summary.policy(content) == "learned"
    tried = jnp.asarray(LOG_LAMBDA, train.x.dtype) if is_lambda else jnp.asarray(log_lambda)
    key = jax.random.key(prepared.run.seed)
    error = ERROR[prepared.task]
    loss, wrong = scores(key, prepared.objective, prepared.trainer, train, val, places, tried, error=error)
    values = best(tried, loss) if is_lambda else wrong[:, 0]
    without = train._replace(weight=train.weight.at[-1].set(0))
    clean_lambda = content.poison.log_lambda[0, 0]
    clean, after = (
        np.asarray(predict(prepared.objective.model, _fit(prepared, data, used), places)).reshape(side, side)
        for data, used in ((without, clean_lambda), (train, log_lambda))
    )
    shaded, rows = np.asarray(values).reshape(side, side), Data(*(np.asarray(leaf[:-1]) for leaf in train))
    return Map(across, up, shaded, is_lambda, clean, after, rows, np.asarray(train.x[-1]))


def _fit(prepared: Prepared, train: Data, log_lambda: np.ndarray) -> Params:
    """The victim's parameters, trained on `train` [n, 2]."""
    start = prepared.objective.init(jax.random.key(prepared.run.seed), 2)
    return fit(prepared.objective, prepared.trainer, start, jnp.asarray(log_lambda), lay_out(train))


def names(content: RunFile) -> tuple[str, str]:
    """What the two classes are called."""
    dataset = serialize.from_json(content.run).dataset
    told = dataset.options.get("classes", ()) or defaults.dataset(dataset.name).class_names
    given = content.classes or told or (0, 1)
    return f"class {given[0]}", f"class {given[1]}"
