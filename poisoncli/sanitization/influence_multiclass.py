"""The influence attack on several classes: KSL 4.1 with a softmax in the place of the smoothed hinge.

The loss of a row is s log sum_j exp((D_j + f_j) / s) - f_y, with D_j = 1 for j != y and 0 for y in a support vector
machine, whose hinge it smooths (of two classes it is KSL's B.1), and with D = 0 and s = 1 in softmax regression.

Shapes: n rows, d features, k classes, p poison points.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.special

from poisoncli.core.data import Array
from poisoncli.core.errors import PoisonError
from poisoncli.sanitization.additive import Rows, stack
from poisoncli.sanitization.feasible_set import FeasibleSet, violation
from poisoncli.sanitization.hessian_solve import solve_multiclass
from poisoncli.sanitization.multiclass_search import Candidates, MulticlassProblem, as_clean, least_error, repeated
from poisoncli.sanitization.projection import project
from poisoncli.training.multiclass import MulticlassLinear, outputs, rivals

_TRIED = 400  # clean rows of a class, at most, of which those are taken that are feasible with the other label


class InfluenceSettings(NamedTuple):
    """How points are moved: see `attacks.influence`.

    check: steps between two judgements of the poison on the way, by `quick` defenses; 0: only at the end.
    copies: rows that stand for each rounded point. each: every poison row is a point of its own, else there is one
    for each class of the clean rows that they start as.
    """

    steps: int
    rates: tuple[float, ...]
    starts: int
    smooth: float
    normalize: str
    relaxation: bool
    copies: int
    remove: float
    quick: tuple[str, ...]
    check: int
    each: bool


def influence_candidates(settings: InfluenceSettings) -> Candidates:
    """Every rate from every start."""

    def craft(problem: MulticlassProblem, feasible: FeasibleSet, number: int, rng: np.random.Generator) -> Rows:
        if not problem.lambda_ > 0:
            raise PoisonError(
                "this attack needs a victim with a penalty: give --lambda, such as 0.09, and -o model.passes=0"
            )
        feasible = feasible if settings.relaxation else feasible._replace(integer=False)
        return ascend(problem, feasible, settings, settings.rates[number % len(settings.rates)], rng)

    points = (lambda k: 100 * k) if settings.each else (lambda k: k)
    return Candidates(settings.starts * len(settings.rates), craft, points)


def ascend(
    problem: MulticlassProblem,
    feasible: FeasibleSet,
    settings: InfluenceSettings,
    rate: float,
    rng: np.random.Generator,
) -> Rows:
    """The poison that does most on the way of points that start as mislabeled clean rows.

    feasible: the set of each class.
    """
    x, labels, copies = starts(problem, feasible, rng, settings.each)
    sets, z = feasible.pick(labels), None
    found, most = None, -1.0
    for step in range(settings.steps + 1):
        if step == settings.steps or (settings.check and step % settings.check == 0):
            poison = repeated(problem, x, labels, copies, settings.copies, rng)
            error = least_error(problem, poison, settings.quick, settings.remove) if settings.check else 0.0
            if error > most:
                found, most = poison, error
        if step < settings.steps:
            exact = Rows(as_clean(problem, np.repeat(x, copies, axis=0)), np.repeat(labels, copies))
            climb = influence(problem, exact, x, labels, settings.smooth, settings.normalize)
            moved = project(sets, x + rate * climb, z)
            x, z = moved.x, moved.multipliers
    assert found is not None
    return found


def starts(
    problem: MulticlassProblem, feasible: FeasibleSet, rng: np.random.Generator, each: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clean rows [p, d] with another label, these labels, and how often each row is there.

    From each class as large a share of the poison as it is of the clean rows: one row of it that stands for all
    these, or if `each`, so many. Of rows that are feasible with their new label, or where a class has none, the row
    that comes nearest to it, moved there. Raises `FailedError` where the set of a label is empty.
    """
    x, y = problem.clean
    label = mislabeled(problem, rng)
    there = [c for c in range(problem.k) if np.any((y == c) & (label != c))]
    counts = _divided(problem.size, np.array([np.sum(y == c) for c in there]))
    chosen: list[np.ndarray] = []
    for c, size in zip(there, counts if each else np.minimum(counts, 1), strict=True):
        rows = rng.permutation(np.flatnonzero((y == c) & (label != c)))[:_TRIED]
        outside = violation(feasible.pick(label[rows]), _dense(x[rows]))
        good = rows[outside <= 1e-9] if np.any(outside <= 1e-9) else rows[[np.argmin(outside)]]
        chosen.append(rng.choice(good, size))
    rows = np.concatenate(chosen)
    points, sets = _dense(x[rows]), feasible.pick(label[rows])
    far = np.flatnonzero(violation(sets, points) > 1e-9)
    if len(far):
        points[far] = project(sets.pick(far), points[far]).x
    return points, label[rows], np.ones(len(rows), int) if each else counts[counts > 0]


def mislabeled(problem: MulticlassProblem, rng: np.random.Generator) -> np.ndarray:
    """What each clean row would be called as poison [n], see `Problem.poison_label`; its own where it cannot be."""
    x, y = problem.clean
    if isinstance(problem.label, int):
        return np.full(len(y), problem.label)
    if problem.label == "other":
        return (y + rng.integers(1, problem.k, len(y))) % problem.k
    scores = outputs(problem.train(problem.clean), x)
    if problem.label == "nearest":
        return rivals(scores, y)[1]
    scores[np.arange(len(y)), y] = np.inf
    return scores.argmin(axis=1)


def influence(
    problem: MulticlassProblem,
    poison: Rows,
    x: np.ndarray,
    y: np.ndarray,
    smooth: float,
    normalize: str = "point",
) -> np.ndarray:
    """The gradient by points x [p, d] with labels y [p] of what the attacker wants (KSL eq. 10), scaled as told.

    That is the target loss of the victim on clean rows and poison, or minus it where rows are pushed to a label.
    """
    hinge = problem.victim.loss == "hinge"
    smooth = smooth if hinge else 1.0
    seen = stack(problem.clean, poison)
    machine = problem.train(seen)

    def chances(x: Array, y: np.ndarray) -> np.ndarray:
        margin = hinge * (np.arange(problem.k) != np.asarray(y)[:, None])
        return scipy.special.softmax((outputs(machine, x) + margin) / smooth, axis=1)

    target = problem.target
    push = chances(*target) - np.eye(problem.k)[target.y]
    sign = -1.0 if problem.pushed else 1.0
    right = MulticlassLinear(sign * np.asarray(target.x.T @ push).T / len(push), sign * push.mean(axis=0))
    v = solve_multiclass(seen.x, chances(*seen), 1 / smooth, problem.lambda_, right)
    chance = chances(x, y)
    moved = chance * outputs(v, x) / smooth
    moved -= chance * moved.sum(axis=1, keepdims=True)
    gradient = -(chance - np.eye(problem.k)[y]) @ v.w - moved @ machine.w
    if normalize == "none":
        return gradient
    return gradient / np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-300)


def _divided(size: int, sizes: np.ndarray) -> np.ndarray:
    """`size` in whole numbers proportional to `sizes`: the largest remainders are rounded up."""
    exact = size * sizes / sizes.sum()
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: size - counts.sum()]] += 1
    return counts


def _dense(x: Array) -> np.ndarray:
    return np.asarray(x.toarray() if hasattr(x, "toarray") else x, float)
