"""The min-max attack on several classes (KSL sections 4.3 and 5.7): it chooses labels as it goes.

Shapes: n clean rows, d features, k classes, p = k (k - 1) pairs of a poison point's label and its rival.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from poisoncli.core.errors import FailedError
from poisoncli.sanitization import filters
from poisoncli.sanitization.additive import Rows, stack
from poisoncli.sanitization.feasible_set import FeasibleSet
from poisoncli.sanitization.multiclass_search import Candidates, MulticlassProblem, repeated
from poisoncli.sanitization.projection import maximize, project
from poisoncli.training.multiclass import MulticlassLinear, gradient, outputs, rivals

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


def minmax(settings: MinMaxSettings) -> Candidates:
    """One candidate for each decoy, or one without."""

    def craft(problem: MulticlassProblem, feasible: FeasibleSet, number: int, rng: np.random.Generator) -> Rows:
        decoy = decoy_of(problem, *settings.decoys[number]) if settings.decoys else None
        label, _ = pairs(problem.k)
        return minmax_points(problem, _under(feasible.pick(label), decoy, settings.cap), settings, rng)

    largest = max((repeats * quantile for repeats, quantile in settings.decoys), default=0.0)
    return Candidates(max(1, len(settings.decoys)), craft, lambda k: k * (k - 1), largest)


def pairs(k: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and rivals [p]."""
    label, rival = np.nonzero(~np.eye(k, dtype=bool))
    return label, rival


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
    """The feasible points with the highest loss under a learner of AdaGrad, in its last steps (Algorithm 5).

    feasible: the set of each pair.
    """
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
    return repeated(problem, np.stack(kept), np.array(labels), copies, 2, rng)
