"""The min-max attack on several classes (KSL sections 4.3 and 5.7): it chooses labels as it goes.

Shapes: n clean rows, d features, k classes, p = k (k - 1) pairs of a poison point's label and its rival.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from poisoncli.sanitization.projection import maximize, project
from poisoncli.sanitization.room import Work
from poisoncli.sanitization.schema import Schema, schema
from poisoncli.sanitization.search import SearchOptions, blank, of_repetition, put
from poisoncli.training.multiclass import MulticlassLinear, gradient, outputs, rivals

JUDGES = ("l2", "slab", "loss")  # defenses behind which candidates are compared; the others take too long here
_FIRST = 1e-8


class MinMaxSettings(NamedTuple):
    """How the learner is followed: see `attacks.minmax.MinMax`; decoys: repeats and quantile of each."""

    cap: float
    rate: float
    burn_in: float
    points: int
    learner_rows: int
    decoys: tuple[tuple[int, float], ...]


def burn_in_of(multiple: float, epsilon: float) -> float:
    """How often the points' number of steps the learner trains before they are kept; 0 leaves it to `epsilon`."""
    return multiple or max(1.0, 0.10 / epsilon - 1)


class MulticlassProblem(NamedTuple):
    """What the attack sees of a repetition: rows with labels 0 ... k - 1, the victim, and what it may add.

    low, high, integer, schema: see `additive.LinearProblem`.
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

    def train(self, rows: Rows) -> MulticlassLinear:
        """The victim on these rows."""
        layer = self.victim.optimum(rows.x, rows.y, self.lambda_)[0]
        return MulticlassLinear(np.asarray(layer["w"], float), np.asarray(layer["b"], float))


def search_multiclass(
    key: Array, problem: Problem, resume: Poison | None, options: SearchOptions, settings: MinMaxSettings
) -> Iterator[Poison]:
    """Try every decoy, none where `settings.decoys` is empty, and yield the best poison so far of each repetition.

    options.refits: after all decoys, the balls are fitted on clean rows and the best poison, and all are tried
    again.
    """
    problems = [_problem_of(problem, r) for r in range(len(problem.train.y))]
    count, rounds = max(1, len(settings.decoys)), options.refits + 1
    behind = [name for name in JUDGES if name in options.behind]
    first = problems[0]
    added = max((repeats * quantile for repeats, quantile in settings.decoys), default=0.0) * len(first.target.y)
    points = first.k * (first.k - 1)
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
        feasible = _balls(multiclass, options.quantile)
        for number in range(rounds * count):
            if number % count == 0 and number:
                best = Rows(poison.x[r], np.asarray(poison.y[r], int))
                feasible = _balls(multiclass, options.quantile, best)
            if not np.isnan(poison.loss[r, 1, number]):
                continue
            rng = generator(jax.random.fold_in(jax.random.fold_in(key, r), number))
            decoy = decoy_of(multiclass, *settings.decoys[number % count]) if settings.decoys else None
            try:
                found = minmax_points(multiclass, _under(feasible, decoy, settings.cap), settings, rng)
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
    rows, target = Rows(problem.train.x[r], y), Rows(problem.target.x[r], np.asarray(problem.target.y[r], int))
    threat = problem.threat
    lambda_ = float(np.exp(float(problem.log_lambda[r, 0]))) / len(y)
    size = threat.counts[-1]
    low, high = of_repetition(threat.low, r), of_repetition(threat.high, r)
    k, asked = int(y.max()) + 1, schema(problem, r)
    return MulticlassProblem(rows, target, size, k, victim, lambda_, low, high, threat.integer, asked)


def pairs(k: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and rivals [p]."""
    label, rival = np.nonzero(~np.eye(k, dtype=bool))
    return label, rival


def _balls(problem: MulticlassProblem, quantile: float, poison: Rows | None = None) -> FeasibleSet:
    """The ball round the centroid of each pair's label, within the box; centroids of clean rows and poison."""
    x, y = problem.clean
    _, center = filters.centroids(*(problem.clean if poison is None else stack(problem.clean, poison)))
    radius = np.array([np.quantile(filters.distances(x[y == c], center[c]), quantile) for c in range(problem.k)])
    label, _ = pairs(problem.k)
    d, p = center.shape[1], len(label)
    rows, bounds = problem.schema.shares() if problem.schema else (np.zeros((0, d)), np.zeros(0))
    shares = np.broadcast_to(rows, (p, *rows.shape)), np.broadcast_to(bounds, (p, len(bounds)))
    low, high = np.asarray(problem.low, float), np.asarray(problem.high, float)
    return FeasibleSet(low, high, center[label], radius[label], *shares, problem.integer, len(bounds))


def _under(feasible: FeasibleSet, decoy: MulticlassLinear | None, cap: float) -> FeasibleSet:
    """Cut to where a point's loss against its pair's rival is at most `cap` under the decoy."""
    if decoy is None:
        return feasible
    label, rival = pairs(len(decoy.b))
    normal = decoy.w[rival] - decoy.w[label]
    return feasible.cut(normal[:, None], (cap - 1 + decoy.b[label] - decoy.b[rival])[:, None])


def _attainable(
    feasible: FeasibleSet, label: np.ndarray, rival: np.ndarray
) -> tuple[FeasibleSet, np.ndarray, np.ndarray]:
    """The pairs whose set has a point, and the sets: a decoy may put a rival ahead wherever the ball of a label is.

    Raises `FailedError` if no pair has one.
    """

    def has_point(pairs: np.ndarray) -> bool:
        try:
            project(feasible.pick(pairs), feasible.center[pairs])
        except FailedError:
            return False
        return True

    every = np.arange(len(label))
    if has_point(every):
        return feasible, label, rival
    some = np.array([pair for pair in every if has_point(np.array([pair]))], int)
    if not len(some):
        raise FailedError("no decoy can be reached within the feasible set: raise -o quantile or -o cap")
    return feasible.pick(some), label[some], rival[some]


def decoy_of(problem: MulticlassProblem, repeats: int, quantile: float) -> MulticlassLinear:
    """The victim on clean rows and the target rows it classifies worst, labelled with their rivals."""
    margin, rival = rivals(outputs(problem.train(problem.clean), problem.target.x), problem.target.y)
    worst = np.flatnonzero(margin <= np.quantile(margin, quantile))
    return problem.train(stack(problem.clean, *[Rows(problem.target.x[worst], rival[worst])] * repeats))


def minmax_points(
    problem: MulticlassProblem, feasible: FeasibleSet, settings: MinMaxSettings, rng: np.random.Generator
) -> Rows:
    """The feasible points with the highest loss under a learner of AdaGrad, in its last steps (Algorithm 5)."""
    x, y = problem.clean
    chosen = rng.permutation(len(y))[: settings.learner_rows or None]
    x, y, epsilon = x[chosen], y[chosen], problem.size / len(y)
    feasible, label, rival = _attainable(feasible, *pairs(problem.k))
    machine = MulticlassLinear(np.zeros((problem.k, x.shape[1])), np.zeros(problem.k))
    seen = MulticlassLinear(np.full_like(machine.w, _FIRST), np.full_like(machine.b, _FIRST))
    distinct = min(settings.points, problem.size)
    burn = round(burn_in_of(settings.burn_in, problem.size / len(problem.clean.y)) * distinct)
    z = near = None
    kept, labels = [], []
    for step in range(burn + distinct):
        gain = machine.w[rival] - machine.w[label]
        if step == 0:
            _, center = filters.centroids(x, y)
            gain = center[rival] - center[label]
        found = maximize(feasible, gain, z, near)
        z, near = found.multipliers, found.x
        losses = np.einsum("pd,pd->p", gain, near) + machine.b[rival] - machine.b[label]
        best = int(np.argmax(losses))
        if step >= burn:
            kept.append(near[best])
            labels.append(label[best])
        by = gradient(machine, x, y)
        if losses[best] > -1 or step == 0:
            for c, sign in ((label[best], -1), (rival[best], 1)):
                by.w[c] += sign * epsilon * near[best]
                by.b[c] += sign * epsilon
        for value, total, change in zip(machine, seen, by, strict=True):
            total += change**2
            value -= settings.rate * change / np.sqrt(total)
    numbers = np.arange(problem.size) % len(kept)
    copies = np.bincount(numbers, minlength=len(kept))
    sparse, asked = sp.issparse(problem.clean.x), problem.schema
    parts = [
        asked.copies(point, n, 2, rng, sparse) if asked else rounded(point, n, 2, problem.integer, rng, sparse)
        for point, n in zip(kept, copies, strict=True)
    ]
    whole: Any = sp.vstack(parts, format="csr") if sparse else np.concatenate(parts)
    return Rows(whole, np.repeat(labels, copies))


def least_error(problem: MulticlassProblem, poison: Rows, behind: Sequence[str], remove: float) -> float:
    """The target error behind the best of the defenses, or without any."""
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
        errors.append(float(np.mean(rivals(outputs(machine, problem.target.x), problem.target.y)[0] <= 0)))
    return min(errors)
