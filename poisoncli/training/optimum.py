"""Victims trained to the optimum, scored like those that are trained by gradient descent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from poisoncli.core.data import Array, Data, Params
from poisoncli.core.defense import Learner
from poisoncli.core.errors import PoisonError
from poisoncli.core.victim import Drawn, Exact, Objective, predict
from poisoncli.training.descent import fit
from poisoncli.training.layout import lay_out
from poisoncli.training.linear import row_loss
from poisoncli.training.multiclass import MulticlassLinear, outputs, rivals, row_losses
from poisoncli.training.score import Score


def solve_and_score(
    model: Exact, train: Data, lambdas: Sequence[float], val: Data, test: Data, seed: int = 0
) -> Score:
    """Train `model` on the rows of each repetition that have weight 1, and score it; see `run_file.Evaluation`.

    lambdas: coefficient of the penalty in the mean loss of the rows kept, for each repetition. Validation scores
    are NaN where there are no validation rows. Where chance has a part in the training (`Drawn`), errors and losses
    are means over its draws, from `seed` on, and the parameters are the first draw's. Raises `PoisonError` for
    weights other than 0 and 1.
    """
    found, spreads = [], []
    for r, lambda_ in enumerate(lambdas):
        weight = np.asarray(train.weight[r])
        if np.any((weight != 0) & (weight != 1)):
            raise PoisonError("model svm takes rows or leaves them: use a defense that removes rows")
        kept = np.flatnonzero(weight)
        rows = (train.x[r][kept], np.asarray(train.y[r])[kept], lambda_)
        draws = model.draws_of(*rows, seed=seed + r) if isinstance(model, Drawn) else [model.optimum(*rows)]
        scores = np.array([(*_scores(model, one, val, r), *_scores(model, one, test, r)) for one in draws])
        spreads.append(scores[:, 2].std(ddof=1) if len(draws) > 1 else 0.0)
        found.append((draws[0], *scores.mean(axis=0)))
    params, val_error, val_loss, test_error, test_loss = zip(*found, strict=True)
    stacked = [{k: np.stack([one[i][k] for one in params]) for k in layer} for i, layer in enumerate(params[0])]
    size = sum(leaf[0].size for layer in stacked for leaf in layer.values())
    norm = (
        sum(np.sum(leaf**2, axis=tuple(range(1, leaf.ndim))) for layer in stacked for leaf in layer.values()) / size
    )
    return Score(
        test_error=np.array(test_error),
        val_error=np.array(val_error),
        test_loss=np.array(test_loss),
        val_loss=np.array(val_loss),
        norm=np.asarray(norm)[:, None],
        params=stacked,
        draw_spread=np.array(spreads, np.float32) if any(spreads) else np.empty(0, np.float32),
    )


def solved(objective: Objective, train: Data, lambdas: Sequence[float]) -> Params | None:
    """The parameters at the optimum on the rows of each repetition, which is their leading axis; see `Solvable`.

    None where one of them cannot be found.
    """
    found = []
    for r, lambda_ in enumerate(lambdas):
        model: Any = objective.model
        one = model.solve(Data(*(leaf[r] for leaf in train)), lambda_, objective.outputs)
        if one is None:
            return None
        found.append(one)
    return jax.tree.map(lambda *leaves: np.stack(leaves).astype(np.float32), *found)


def training_scores(key: Array, data: Data, learner: Learner) -> np.ndarray:
    """How badly the victim fits each row [n] that it was trained on: its loss, or minus its margin."""
    model = learner.objective.model
    y = np.asarray(data.y)
    if isinstance(model, Exact):
        params = model.optimum(data.x, y, learner.lambda_)
        return -margins(params, data.x, y)
    rows = Data(jnp.asarray(dense(data.x)), jnp.asarray(y), jnp.asarray(data.weight))
    start = learner.objective.init(key, rows.x.shape[1], rows.x.dtype)
    params = fit(learner.objective, learner.trainer, start, jnp.asarray(learner.log_lambda), lay_out(rows))
    return np.asarray(learner.objective.loss(predict(model, params, rows.x), rows.y), float)


def _scores(model: Exact, params: Params, data: Data, r: int) -> tuple[float, float]:
    """Share of wrong rows and mean loss on the rows of a repetition."""
    y = np.asarray(data.y[r])
    if not len(y):
        return np.nan, np.nan
    found = outputs(_machine(params), data.x[r])
    if found.shape[1] > 1:
        return float(np.mean(rivals(found, y)[0] <= 0)), float(row_losses(found, y, model.loss).mean())
    margin = (2 * y - 1) * found[:, 0]
    return float(np.mean(margin <= 0)), float(row_loss(margin, model.loss).mean())


def margins(params: Params, x: Array, y: Array) -> np.ndarray:
    """The margin of every row [n] of a linear model with one output or one a class; rows x [n, m], dense or CSR."""
    found = outputs(_machine(params), x)
    return rivals(found, y)[0] if found.shape[1] > 1 else (2 * np.asarray(y) - 1) * found[:, 0]


def _machine(params: Params) -> MulticlassLinear:
    """Parameters of a linear model, with a row for each output."""
    return MulticlassLinear(np.asarray(params[0]["w"]), np.asarray(params[0]["b"]))


def dense(x: Array) -> np.ndarray:
    """Rows as a dense array."""
    return np.asarray(x.toarray() if sp.issparse(x) else x)
