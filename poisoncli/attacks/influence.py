"""The influence attack: gradient ascent on the poison through the victim's optimum (KSL 4.1, B.1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Array, Task
from poisoncli.core.errors import FailedError
from poisoncli.core.method import method, option
from poisoncli.sanitization.additive import (
    SIGNS,
    LinearProblem,
    Rows,
    damage,
    like_clean,
    rounded_poison,
    stack,
    two_point_poison,
)
from poisoncli.sanitization.feasible_set import FeasibleSet, violation
from poisoncli.sanitization.hessian_solve import solve
from poisoncli.sanitization.influence_multiclass import InfluenceSettings, influence_candidates
from poisoncli.sanitization.multiclass_search import search_multiclass
from poisoncli.sanitization.projection import project
from poisoncli.sanitization.search import COPIES, SearchOptions, search
from poisoncli.training.linear import Linear, margins

_TRIED = 400  # clean rows of a class, at most, of which those are taken that are feasible with the other label
CHECK = 5  # steps between two judgements of the poison on the way
SMOOTH: Any = option(0.001, above=0, doc="temperature of the smoothed hinge (Appendix B.1).")
NORMALIZE: Any = option(
    "point",
    choices=("point", "none"),
    doc="divide the gradient of each point by its length, so that rates are the lengths of steps, or not: `none` "
    "(Algorithm 2; give a range of -o rates, of which the best wins, Appendix B.1).",
)

TARGET: Any = option(
    "test",
    doc="the rows to be classified wrongly: `test`, `train` or `val`, `class:K` for the validation rows of class "
    "K, `rows:FILE` for rows by their numbers, kept out of all else.",
)
TARGET_LABEL: Any = option("", doc="the class that these rows are pushed to; by default any wrong one.")
POISON_LABEL: Any = option(
    "other",
    doc="the class that poison rows claim to be: any `other` than that of the row they start as, the `nearest` "
    "(likeliest after it to the victim of the clean rows), the `least-likely`, or one by its name; of two classes "
    "the first three are the same.",
)


@method
class InfluenceOptions(SearchOptions):
    """What both influence attacks take and declare beside the other attacks that search."""

    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")
    victims: ClassVar[tuple[str, ...]] = ("svm", "multisvm")
    in_label: ClassVar[Mapping[str, Any]] = {"poison_label": "other"}

    smooth: float = SMOOTH
    normalize: str = NORMALIZE
    target: str = TARGET
    target_label: str = TARGET_LABEL
    poison_label: str = POISON_LABEL


@method
class Influence(InfluenceOptions):
    """Moves two points, one of each class, along the influence of their features on the target loss.

    Each step trains the victim, finds the inverse-Hessian-vector product of the smoothed hinge,
    moves each point by each of `rates` along its gradient and projects it back onto the feasible set. The points
    weigh inversely to the class balance. The best poison on the way wins, over all rates and starts. Of more than
    two classes there is a point for each that starts as a row of it, and the hinge is smoothed by a softmax, or is
    one (-o model.loss=logistic).

    steps: of ascent.
    rates: lengths of a step in units of the features, each tried from every start.
    starts: pairs of flipped clean rows that are feasible, drawn at random.
    relaxation: bound the expected length after rounding instead of the length before (eqs. 6-8).
    """

    steps: int = option(default=100, low=1, high=100_000)
    rates: tuple[float, ...] = option(default=(1.0, 2.0), above=0)
    starts: int = option(default=4, low=1, high=1000)
    copies: int = COPIES
    relaxation: bool = True

    def craft(self, key: Array, problem: Problem, resume: Poison | None = None) -> Iterator[Poison]:
        """See `Attack.craft`."""
        if problem.task == "multiclass":
            settings = InfluenceSettings(
                steps=self.steps,
                rates=self.rates,
                starts=self.starts,
                smooth=self.smooth,
                normalize=self.normalize,
                relaxation=self.relaxation,
                copies=self.copies,
                remove=self.remove,
                quick=_quick(self.behind),
                check=CHECK,
                each=False,
            )
            return search_multiclass(key, problem, resume, self, influence_candidates(settings))
        count = self.starts * len(self.rates)
        return search(key, problem, resume, self, lambda linear: (count, None), self._candidate, points=_TRIED)

    def _candidate(
        self, problem: LinearProblem, feasible: FeasibleSet, shared: None, number: int, rng: np.random.Generator
    ) -> Rows:
        rate = self.rates[number % len(self.rates)]
        feasible = feasible if self.relaxation else feasible._replace(integer=False)
        chosen = flipped(problem, feasible, np.array([1, 1]), rng)
        x, z = np.asarray(dense_rows(problem, chosen)), None
        above = round(
            problem.size * (float(np.mean(problem.clean.y < 0)) if not problem.label else problem.label > 0)
        )
        copies = (problem.size - above, above)
        best: tuple[float, Rows | None] = (-1.0, None)
        quick = _quick(problem.defenses)
        for step in range(self.steps + 1):
            if step % CHECK == 0:
                poison = two_point_poison(problem, x, copies, self.copies, rng)
                worst = damage(problem, poison, quick, best[0])
                best = max(best, (worst, poison), key=lambda pair: pair[0])
            exact = like_clean(problem, np.repeat(x, copies, axis=0), np.repeat(SIGNS, copies))
            gradient = influence(problem, exact, x, SIGNS, self.smooth, self.normalize)
            found = project(feasible, x + rate * gradient, z)
            x, z = found.x, found.multipliers
        assert best[1] is not None
        return best[1]


@method
class InfluenceBasic(InfluenceOptions):
    """The influence attack on each poison point by itself, without LP relaxation or repeated points (KSL Alg. 2).

    Starts from randomly flipped feasible clean rows.

    steps: of ascent.
    rates: lengths of a step, each tried.
    """

    steps: int = option(default=40, low=1, high=100_000)
    rates: tuple[float, ...] = option(default=(1.0,), above=0)

    def craft(self, key: Array, problem: Problem, resume: Poison | None = None) -> Iterator[Poison]:
        """See `Attack.craft`."""
        if problem.task == "multiclass":
            settings = InfluenceSettings(
                steps=self.steps,
                rates=self.rates,
                starts=1,
                smooth=self.smooth,
                normalize=self.normalize,
                relaxation=False,
                copies=1,
                remove=self.remove,
                quick=(),
                check=0,
                each=True,
            )
            return search_multiclass(key, problem, resume, self, influence_candidates(settings))
        points = max(_TRIED, problem.threat.counts[-1])
        return search(
            key, problem, resume, self, lambda linear: (len(self.rates), None), self._candidate, points=points
        )

    def _candidate(
        self, problem: LinearProblem, feasible: FeasibleSet, shared: None, number: int, rng: np.random.Generator
    ) -> Rows:
        feasible = feasible._replace(integer=False)
        share = float(np.mean(problem.clean.y > 0)) if not problem.label else float(problem.label < 0)
        below = rng.binomial(problem.size, share)
        rows = flipped(problem, feasible, np.array([below, problem.size - below]), rng)
        y = np.repeat(SIGNS, [below, problem.size - below])
        each = feasible.pick((y > 0).astype(int))
        x, z = dense_rows(problem, rows), None
        for _ in range(self.steps):
            gradient = influence(problem, like_clean(problem, x, y), x, y, self.smooth, self.normalize)
            found = project(each, x + self.rates[number] * gradient, z)
            x, z = found.x, found.multipliers
        return rounded_poison(problem, x, y, [1] * len(y), 1, rng)


def _quick(behind: Sequence[str]) -> tuple[str, ...]:
    """The defenses that judge the poison on the way."""
    return tuple(name for name in ("loss", "l2") if name in behind)


def flipped(
    problem: LinearProblem, feasible: FeasibleSet, counts: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Clean rows, drawn with replacement, that are feasible with the other label: counts[0] for class -1, then 1.

    Raises `FailedError` where there are none.
    """
    chosen = []
    for i, (sign, count) in enumerate(zip(SIGNS, counts, strict=True)):
        rows = rng.permutation(np.flatnonzero(problem.clean.y == -sign))[:_TRIED]
        x = dense_rows(problem, rows)
        good = rows[violation(feasible.pick(np.full(len(rows), i)), x) <= 1e-9]
        if not len(good):
            raise FailedError("no flipped clean row is feasible: raise -o quantile, or give up a defense")
        chosen.append(rng.choice(good, count))
    return np.concatenate(chosen)


def dense_rows(problem: LinearProblem, rows: np.ndarray) -> np.ndarray:
    """Some clean rows as a dense array."""
    x = problem.clean.x[rows]
    return np.asarray(x.toarray() if hasattr(x, "toarray") else x, float)


def influence(
    problem: LinearProblem, poison: Rows, x: np.ndarray, y: np.ndarray, smooth: float, normalize: str = "point"
) -> np.ndarray:
    """The gradient of the target loss by points x [p, d] with labels y [p] (eq. 10), scaled as `normalize` says."""
    seen = stack(problem.clean, poison)
    theta = problem.train(seen)
    push, by_bias = _gradient(problem.target, theta, smooth)
    w, b = solve(seen.x, _curvature(margins(theta, *seen), smooth), problem.lambda_, push, by_bias, problem.bias)
    margin = y * (x @ theta.w + theta.b)
    slope = _sigmoid((1 - margin) / smooth)
    bend = slope * (1 - slope) / smooth
    gradient = (slope * y)[:, None] * w - (bend * (x @ w + b))[:, None] * theta.w
    if normalize == "none":
        return gradient
    return gradient / np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-300)


def _gradient(rows: Rows, theta: Linear, smooth: float) -> tuple[np.ndarray, float]:
    """Of the mean smoothed hinge by w [d] and b."""
    push = _sigmoid((1 - margins(theta, *rows)) / smooth) * rows.y
    return -np.asarray(rows.x.T @ push).ravel() / len(push), -float(push.mean())


def _curvature(margin: np.ndarray, smooth: float) -> np.ndarray:
    slope = _sigmoid((1 - margin) / smooth)
    return slope * (1 - slope) / smooth


def _sigmoid(value: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * value))
