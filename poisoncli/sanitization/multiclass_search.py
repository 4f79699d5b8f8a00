"""Attacks that add rows of several classes and must pass filters: what they see, and the search for the best.

Shapes: n clean rows, d features, k classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.sparse as sp

from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Array
from poisoncli.core.errors import FailedError, PoisonError
from poisoncli.core.random import generator
from poisoncli.core.victim import Exact
from poisoncli.sanitization import filters, room
from poisoncli.sanitization.additive import Rows, rounded, stack
from poisoncli.sanitization.feasible_set import FeasibleSet
from poisoncli.sanitization.room import Work
from poisoncli.sanitization.schema import Schema, schema
from poisoncli.sanitization.search import SearchOptions, blank, of_repetition, pushes, put, targeted
from poisoncli.training.multiclass import MulticlassLinear, outputs, rivals

JUDGES = ("l2", "slab", "loss")  # defenses behind which candidates are compared; the others take too long here


class MulticlassProblem(NamedTuple):
    """What the attack sees of a repetition: rows with labels 0 ... k - 1, the victim, and what it may add.

    low, high, integer, schema: see `additive.LinearProblem`. pushed: target rows shall come out as their label
    says, and not as any other. label: see `Problem.poison_label`.
    """

    clean: Rows
    target: Rows
    size: int
    k: int
    victim: Exact
    lambda_: float
    low: Array
    high: Array
    integer: bool
    schema: Schema | None = None
    pushed: bool = False
    label: str | int = "other"

    def train(self, rows: Rows) -> MulticlassLinear:
        """The victim on these rows."""
        layer = self.victim.optimum(rows.x, rows.y, self.lambda_)[0]
        return MulticlassLinear(np.asarray(layer["w"], float), np.asarray(layer["b"], float))


class Candidates(NamedTuple):
    """How many candidates there are in all, and how one is crafted within the sets of the classes.

    points: how many are moved as one array, of k classes; decoys: rows that the largest decoy adds, for each target
    row; both tell what memory it takes.
    """

    total: int
    craft: Callable[[MulticlassProblem, FeasibleSet, int, np.random.Generator], Rows]
    points: Callable[[int], int]
    decoys: float = 0.0


def search_multiclass(
    key: Array,
    problem: Problem,
    resume: Poison | None,
    options: SearchOptions,
    candidates: Candidates,
) -> Iterator[Poison]:
    """Try every candidate, and yield the best poison so far of each repetition.

    options.refits: after all candidates, the balls are fitted on clean rows and the best poison, and all are tried
    again.
    """
    problems = [_problem_of(problem, r) for r in range(len(problem.train.y))]
    count, rounds = candidates.total, options.refits + 1
    behind = [name for name in JUDGES if name in options.behind]
    first = problems[0]
    added = candidates.decoys * len(first.target.y)
    points = candidates.points(first.k)
    room.check(Work(first.clean.x, first.size, added, points, knn=False), "take fewer rows or classes")
    poison = blank(
        problem,
        [one.clean.x for one in problems],
        rounds * count,
        rounds * count * len(problems),
    )
    if resume is not None and (rounds == 1 or resume.done <= count):  # else the set of the round is not known
        poison = resume
    for r, multiclass in enumerate(problems):
        feasible = balls(multiclass, options.quantile)
        for number in range(rounds * count):
            if number % count == 0 and number:
                best = Rows(poison.x[r], np.asarray(poison.y[r], int))
                feasible = balls(multiclass, options.quantile, best)
            if not np.isnan(poison.loss[r, 1, number]):
                continue
            rng = generator(jax.random.fold_in(jax.random.fold_in(key, r), number))
            try:
                found = candidates.craft(multiclass, feasible, number % count, rng)
                error = least_error(multiclass, found, behind, options.remove)
            except FailedError:
                if number + 1 == count and np.nanmax(poison.loss[r, 1], initial=-1) < 0:
                    raise
                found, error = None, -1.0
            if found is not None and error > np.nanmax(poison.loss[r, 1], initial=-1.0):
                poison = put(poison, r, found)
            loss = poison.loss.copy()
            loss[r, 1, number] = error
            poison = poison._replace(loss=loss, done=poison.done + 1)
            yield poison


def _problem_of(problem: Problem, r: int) -> MulticlassProblem:
    victim = problem.objective.model
    if not isinstance(victim, Exact):
        raise PoisonError("several classes need --model multisvm")
    y = np.asarray(problem.train.y[r], int)
    x, label = targeted(problem, r)
    threat = problem.threat
    lambda_ = float(np.exp(float(problem.log_lambda[r, 0]))) / len(y)
    return MulticlassProblem(
        clean=Rows(problem.train.x[r], y),
        target=Rows(x, np.asarray(label, int)),
        size=threat.counts[-1],
        k=int(y.max()) + 1,
        victim=victim,
        lambda_=lambda_,
        low=of_repetition(threat.low, r),
        high=of_repetition(threat.high, r),
        integer=threat.integer,
        schema=schema(problem, r),
        pushed=pushes(problem),
        label=problem.poison_label,
    )


def balls(problem: MulticlassProblem, quantile: float, poison: Rows | None = None) -> FeasibleSet:
    """The ball round each class's centroid, within the box [k]; centroids of clean rows and poison."""
    x, y = problem.clean
    _, center = filters.centroids(*(problem.clean if poison is None else stack(problem.clean, poison)))
    radius = np.array([np.quantile(filters.distances(x[y == c], center[c]), quantile) for c in range(problem.k)])
    k, d = center.shape
    rows, bounds = problem.schema.shares() if problem.schema else (np.zeros((0, d)), np.zeros(0))
    shares = np.broadcast_to(rows, (k, *rows.shape)), np.broadcast_to(bounds, (k, len(bounds)))
    low, high = np.asarray(problem.low, float), np.asarray(problem.high, float)
    return FeasibleSet(low, high, center, radius, *shares, problem.integer, len(bounds))


def as_clean(problem: MulticlassProblem, x: np.ndarray) -> Array:
    """Rows like the clean ones: CSR if these are."""
    return sp.csr_matrix(x) if sp.issparse(problem.clean.x) else x


def repeated(
    problem: MulticlassProblem,
    points: np.ndarray,
    labels: np.ndarray,
    copies: Sequence[int] | np.ndarray,
    repeat: int,
    rng: np.random.Generator,
) -> Rows:
    """Poison of copies[i] rounded rows of points[i] [p, d] with labels[i], see `rounded`."""
    sparse, asked = sp.issparse(problem.clean.x), problem.schema
    parts = [
        asked.copies(x, n, repeat, rng, sparse) if asked else rounded(x, n, repeat, problem.integer, rng, sparse)
        for x, n in zip(points, copies, strict=True)
        if n
    ]
    whole: Any = sp.vstack(parts, format="csr") if sparse else np.concatenate(parts)
    return Rows(whole, np.repeat(labels, copies))


def least_error(problem: MulticlassProblem, poison: Rows, behind: Sequence[str], remove: float) -> float:
    """The share of target rows that come out as wanted behind the best of the defenses, or without any."""
    seen = stack(problem.clean, poison)
    kept: list[Any] = []
    for name in behind:
        if name == "loss":
            scores = -rivals(outputs(problem.train(seen), seen.x), seen.y)[0]
        else:
            scores = {"l2": filters.l2_scores, "slab": filters.slab_scores}[name](*seen)
        kept.append(filters.keep(scores, seen.y, remove))
    errors = []
    for rows in kept or [np.ones(len(seen.y), bool)]:
        machine = problem.train(Rows(seen.x[rows], seen.y[rows]))
        margin, _ = rivals(outputs(machine, problem.target.x), problem.target.y)
        errors.append(float(np.mean(margin > 0 if problem.pushed else margin <= 0)))
    return min(errors)
