"""The end of an attack on a table: its rows rounded to possible ones, improved by exchange, and what that cost."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import scipy.sparse as sp

from poisoncli.bilevel.exchange import exchange
from poisoncli.core import domain
from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Data, Params, Sparse
from poisoncli.core.domain import Domain
from poisoncli.core.errors import FailedError
from poisoncli.core.losses import ERROR
from poisoncli.core.victim import Exact, predict
from poisoncli.runs import defaults
from poisoncli.runs.prepare import Prepared
from poisoncli.runs.run_file import RunFile

LOG = logging.getLogger(__name__)
STEPS = ("as optimized", "rounded", "after exchange")
Score = Callable[[Poison, int], Any]  # what the victim does at a stage of a poison, see `training.score.Score`
_EXCHANGE = 6  # what the seed's key is folded with; `prepare`, `problem` and `stages` have the others
_SCALING = 1e-5  # of the largest feature: what scaling a row and scaling it back may do to it
_ROWS = 256  # sparse ones that are made dense at a time


def finish(
    prepared: Prepared,
    task: Problem,
    content: RunFile,
    score: Score,
    report: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> RunFile:
    """`content` with poison rows that the domain allows, and the record of what that cost in `rounding`.

    As it is where the data have no domain, or the attack leaves rows of the data, or of the user, as they are.
    """
    limits, attack = prepared.domain, prepared.run.attack
    how, poison = defaults.attack(attack.name).finished_by, content.poison
    if limits is None or how == "keep" or not poison.y.size:
        return content
    start = origins(prepared, limits, poison)
    steps = [poison, poison._replace(x=_rounded(prepared, limits, poison, start))]
    if start is None and _same(steps[0].x, steps[1].x):
        LOG.info("poison rows are possible ones: the attack searched among them")
        return dataclasses.replace(content, poison=steps[1])
    exchanges = how == "exchange" and limits.discrete
    if exchanges and attack.options.get("alpha", 1.0) < 1:
        LOG.info("rounded rows are not exchanged: with alpha below 1 the target loss is not all that counts")
    elif exchanges and start is not None:
        key = jax.random.fold_in(jax.random.key(prepared.run.seed), _EXCHANGE)
        what = "exchanging whole numbers and categories"
        steps.append(exchange(key, task, limits, steps[1], start, lambda done, total: report(done, total, what)))
    found = {name: np.stack(parts, axis=-1) for name, parts in _scores(prepared, task, steps, score).items()}
    if limits.discrete:
        _say(found)
    return dataclasses.replace(content, poison=steps[-1], rounding=found)


def origins(prepared: Prepared, limits: Domain, poison: Poison) -> np.ndarray | None:
    """What each poison row started as, in its own units [repetitions, points, m]; None where rows are added."""
    if poison.replaced.size and poison.replaced.min() < 0:
        return None
    places = np.take_along_axis(prepared.rows["train"], poison.replaced, axis=1)
    return np.stack([domain.start(limits.of(r), prepared.own_rows(rows, r)) for r, rows in enumerate(places)])


def _rounded(prepared: Prepared, limits: Domain, poison: Poison, start: np.ndarray | None) -> Any:
    """The features of the poison, every row rounded to one that the domain allows."""
    found = []
    for r, part in enumerate(poison.x):
        shift, scale = prepared.units(r)
        rows = []
        for first in range(0, part.shape[0], _ROWS if sp.issparse(part) else part.shape[0]):
            some = slice(first, first + _ROWS) if sp.issparse(part) else slice(None)
            x = own(part[some], shift, scale)
            x = domain.rounded(limits.of(r), x, None if start is None else start[r, some])
            if domain.impossible(limits.of(r), x, None if start is None else start[r, some]).any():
                raise FailedError("a poison row could not be rounded to a possible one: widen --range")
            x = ((x - shift) / scale).astype(np.float32)
            rows.append(sp.csr_matrix(x) if sp.issparse(part) else x)
        found.append(sp.vstack(rows, format="csr") if sp.issparse(part) else rows[0])
    return Sparse(found) if isinstance(poison.x, Sparse) else np.stack(found)


def _same(one: Any, other: Any) -> bool:
    """Whether rows differ by what scaling does to them at most."""
    pairs = zip(one, other, strict=True)
    return all(abs(first - second).max() <= _SCALING * max(1.0, abs(second).max()) for first, second in pairs)


def own(x: Any, shift: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Rows [n, m] of a run, dense or CSR, in the data set's own units."""
    return np.asarray(x.toarray() if sp.issparse(x) else x, float) * scale + shift


def possible(prepared: Prepared, limits: Domain, x: np.ndarray, places: np.ndarray, r: int) -> np.ndarray:
    """Poison rows [n, m] of repetition r in their own units, free of what scaling did to them.

    places: of the rows of the data set that they stand for; -1 where they are added.
    """
    if defaults.attack(prepared.run.attack.name).finished_by == "keep":
        return np.where(places[:, None] >= 0, prepared.own_rows(np.maximum(places, 0), r), x)
    there = places.size > 0 and places.min() >= 0
    start = domain.start(limits.of(r), prepared.own_rows(places, r)) if there else None
    return domain.rounded(limits.of(r), x, start)


def changed(prepared: Prepared, limits: Domain, x: np.ndarray, places: np.ndarray, r: int) -> np.ndarray:
    """In which of the user's columns rows [n, m] differ from those of the data that they stand for [n, columns]."""
    there = places >= 0
    found = np.ones((len(x), len(limits.names)), bool)
    start = domain.start(limits.of(r), prepared.own_rows(places[there], r))
    found[there] = domain.by_column(limits, (x[there] != start).astype(float)) > 0
    return found


def _scores(prepared: Prepared, task: Problem, steps: list[Poison], score: Score) -> dict[str, list[np.ndarray]]:
    """Test error, target loss and target error of each step [repetitions, stages]."""
    found: dict[str, list[np.ndarray]] = {"test_error": [], "target_loss": [], "target_error": []}
    for poison in steps:
        scores = [score(poison, stage) for stage in range(len(poison.counts))]
        found["test_error"].append(np.stack([one.test_error for one in scores], axis=1))
        pairs = [_on_target(prepared, task, one) for one in scores]
        for place, name in enumerate(("target_loss", "target_error")):
            found[name].append(np.stack([pair[place] for pair in pairs], axis=1).astype(np.float32))
    return found


def _on_target(prepared: Prepared, task: Problem, score: Any) -> tuple[Any, Any]:
    """Loss and error of the target rows [repetitions] each; NaN where the victim's rows are no dense arrays."""
    if isinstance(prepared.objective.model, Exact):
        part = {"val": ("val_loss", "val_error"), "test": ("test_loss", "test_error")}
        names = part.get(str(prepared.run.attack.options.get("target", "test")))
        nothing = np.full(len(score.test_error), np.nan, np.float32)
        return tuple(getattr(score, name) for name in names) if names else (nothing, nothing)

    def one(params: Params, rows: Data) -> tuple[Any, Any]:
        output = predict(task.objective.model, params, rows.x)
        return task.objective.clean_loss(params, rows), ERROR[prepared.task](output, rows.y, rows.weight)

    params = task.objective.from_layers(score.params, task.train.x.shape[2])
    return jax.tree.map(np.asarray, jax.vmap(one)(params, task.target))


def _say(found: dict[str, np.ndarray]) -> None:
    """What rounding and exchange did at the largest fraction of poison."""
    error, loss = (found[name][:, -1].mean(axis=0) for name in ("test_error", "target_loss"))
    parts = [
        f"{e:.4f} {'' if np.isnan(v) else f'(target loss {v:.4f}) '}{step}"
        for e, v, step in zip(error, loss, STEPS, strict=False)
    ]
    LOG.info("poison rows are rounded to possible ones: test error %s", ", ".join(parts))
