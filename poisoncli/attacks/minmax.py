"""The min-max attack: highest-loss points against a learner that follows (KSL section 4.3)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Array, Task
from poisoncli.core.method import method, option
from poisoncli.sanitization.additive import SIGNS, LinearProblem, Rows, capped, rounded_poison
from poisoncli.sanitization.decoys import QUANTILES, REPEATS, Decoy, decoys
from poisoncli.sanitization.feasible_set import FeasibleSet, joined
from poisoncli.sanitization.minmax_multiclass import MinMaxSettings, burn_in_of, minmax
from poisoncli.sanitization.multiclass_search import search_multiclass
from poisoncli.sanitization.projection import maximize
from poisoncli.sanitization.search import COPIES, SearchOptions, Together, search
from poisoncli.training.linear import slope

RATE: Any = option(0.03, above=0, doc="step of the learner, by AdaGrad.")
BURN_IN: Any = option(
    0.0,
    low=0,
    doc="its steps before points are kept, as a multiple of theirs; 0: max(1, 0.10 / epsilon - 1) for epsilon "
    "poison rows a clean row (the code of KSL's authors).",
)
POINTS: Any = option(
    90,
    low=1,
    high=10_000,
    doc="distinct poison points with more than two classes, at most; each stands for as many rows.",
)
LEARNER_ROWS: Any = option(
    3000, low=0, doc="clean rows that the learner trains on with more than two classes, drawn at random; 0: all."
)


@method
class MinMax(SearchOptions):
    """Adds the feasible point with the highest loss under a learner that trains along (Algorithm 5).

    Poison points keep a low hinge loss under decoy parameters (eq. 22); every decoy is tried, and the one with the
    highest target error behind the best defense wins. Knows the target rows, the defenses and lambda.

    cap: the highest loss of a poison point under the decoy (tau, Appendix B.3).
    grid: with more than two classes, how many pairs of repeats and quantiles make a decoy: a `few`, or `all`.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")
    victims: ClassVar[tuple[str, ...]] = ("svm", "multisvm")
    tuned: ClassVar[tuple[str, ...]] = ("repeats", "quantiles")

    repeats: tuple[int, ...] = REPEATS
    quantiles: tuple[float, ...] = QUANTILES
    cap: float = option(default=0.25, low=0)
    rate: float = RATE
    burn_in: float = BURN_IN
    copies: int = COPIES
    points: int = POINTS
    learner_rows: int = LEARNER_ROWS
    grid: str = option(default="few", choices=("few", "all"))

    def craft(self, key: Array, problem: Problem, resume: Poison | None = None) -> Iterator[Poison]:
        """See `Attack.craft`."""
        if problem.task == "multiclass":
            repeats, quantiles = self.repeats, self.quantiles
            if self.grid == "few":
                repeats, quantiles = repeats[:: len(repeats) // 3 or 1], quantiles[1::4] or quantiles
            grid = tuple(itertools.product(repeats, quantiles))
            settings = MinMaxSettings(self.cap, self.rate, self.burn_in, self.points, self.learner_rows, grid)
            return search_multiclass(key, problem, resume, self, minmax(settings))
        most = max(self.repeats, default=0) * max(self.quantiles, default=0)
        return search(key, problem, resume, self, self._plan, Together(self._candidates), decoys=most)

    def _plan(self, problem: LinearProblem) -> tuple[int, list[Decoy]]:
        found = decoys(problem, self.repeats, self.quantiles)
        return len(found), found

    def _candidates(
        self,
        problem: LinearProblem,
        feasible: FeasibleSet,
        found: list[Decoy],
        numbers: Sequence[int],
        draws: Sequence[np.random.Generator],
    ) -> list[Rows | None]:
        sets = joined([capped(feasible, found[number].theta, np.full(2, self.cap)) for number in numbers])
        return highest_loss_points(problem, sets, self.rate, self.burn_in, self.copies, draws)


@method
class MinMaxBasic(SearchOptions):
    """The min-max attack without decoys (Steinhardt et al. 2017), with the LP relaxation and repeated points.

    Falls to the loss defense, which it does not know of (KSL section 5.6).

    """

    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")
    victims: ClassVar[tuple[str, ...]] = ("svm", "multisvm")

    rate: float = RATE
    burn_in: float = BURN_IN
    copies: int = COPIES
    points: int = POINTS
    learner_rows: int = LEARNER_ROWS

    def craft(self, key: Array, problem: Problem, resume: Poison | None = None) -> Iterator[Poison]:
        """See `Attack.craft`."""
        if problem.task == "multiclass":
            settings = MinMaxSettings(0.0, self.rate, self.burn_in, self.points, self.learner_rows, ())
            return search_multiclass(key, problem, resume, self, minmax(settings))
        return search(key, problem, resume, self, lambda linear: (1, None), Together(self._candidates))

    def _candidates(
        self,
        problem: LinearProblem,
        feasible: FeasibleSet,
        shared: None,
        numbers: Sequence[int],
        draws: Sequence[np.random.Generator],
    ) -> list[Rows | None]:
        return highest_loss_points(problem, feasible, self.rate, self.burn_in, self.copies, draws)


class _Learners(NamedTuple):
    """Learners that train along, for c candidates: weights [c, d], biases [c], AdaGrad's sums of squares."""

    w: np.ndarray
    b: np.ndarray
    seen_w: np.ndarray
    seen_b: np.ndarray

    def stepped(self, rate: float, by_w: np.ndarray, by_b: np.ndarray) -> _Learners:
        """After a step against the gradients."""
        seen_w, seen_b = self.seen_w + by_w**2, self.seen_b + by_b**2
        w, b = self.w - rate * by_w / np.sqrt(seen_w), self.b - rate * by_b / np.sqrt(seen_b)
        return _Learners(w, b, seen_w, seen_b)


def highest_loss_points(
    problem: LinearProblem,
    feasible: FeasibleSet,
    rate: float,
    burn_in: float,
    copies: int,
    draws: Sequence[np.random.Generator],
) -> list[Rows | None]:
    """The highest-loss points of a learner's last steps, each rounded and repeated (Algorithm 5), of c candidates.

    feasible: the sets of class -1 and 1 of each candidate in turn [2 c]; draws: of the rounding [c]. None where a
    set is empty. Candidates do not know of each other.
    """
    clean, eps, c = problem.clean, problem.epsilon, len(draws)
    points = -(-problem.size // copies)
    burn = round(burn_in_of(burn_in, eps) * points)
    transposed = clean.x.T.tocsr() if hasattr(clean.x, "tocsr") else np.ascontiguousarray(clean.x.T)
    learners = _Learners(np.zeros((c, clean.x.shape[1])), np.zeros(c), *_first(c, clean.x.shape[1]))
    z = near = None
    there = np.arange(c)  # candidates whose sets have points
    kept: list[list[tuple[float, np.ndarray]]] = [[] for _ in draws]
    for step in range(burn + points):
        toward = learners.w if step else feasible.center[1::2] - feasible.center[::2]
        found = maximize(
            feasible, -np.repeat(toward, 2, axis=0) * _signs(len(there))[:, None], z, near, lenient=True
        )
        good = found.found.reshape(-1, 2).all(axis=1)
        both = np.repeat(good, 2)
        there, learners = there[good], _Learners(*(leaf[good] for leaf in learners))
        feasible, z, near = feasible.pick(both), found.multipliers[both], found.x[both]
        if not len(there):
            break
        pairs = near.reshape(len(there), 2, -1)
        margin = SIGNS * (np.einsum("cpd,cd->cp", pairs, learners.w) + learners.b[:, None])
        worst = np.argmin(margin, axis=1)
        each = np.arange(len(there))
        x, least, sign = pairs[each, worst], margin[each, worst], SIGNS[worst]
        if step >= burn:
            for number, one, label in zip(there, x, sign, strict=True):
                kept[number].append((label, one.copy()))
        by_w, by_b = _gradients(problem, transposed, learners)
        mine = eps * sign * slope(least, problem.loss)
        learners = learners.stepped(rate, by_w - mine[:, None] * x, by_b - mine)
    sizes = np.full(points, copies)
    sizes[-1] = problem.size - copies * (points - 1)
    result: list[Rows | None] = [None] * c
    for number in there:
        labels, rows = zip(*kept[number], strict=True)
        own = np.stack(rows), np.array(labels), sizes.tolist(), copies, draws[number]
        result[number] = rounded_poison(problem, *own)
    return result


def _first(c: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((c, d), 1e-12), np.full(c, 1e-12)


def _signs(c: int) -> np.ndarray:
    return np.tile(SIGNS, c)


def _gradients(problem: LinearProblem, transposed: Any, learners: _Learners) -> tuple[np.ndarray, np.ndarray]:
    """Of the mean clean loss plus the penalty, which counts 1 + epsilon times, by w [c, d] and b [c]."""
    clean, pull = problem.clean, problem.lambda_ * (1 + problem.epsilon)
    margin = clean.y[:, None] * (np.asarray(clean.x @ learners.w.T) + learners.b)
    push = slope(margin, problem.loss) * clean.y[:, None]
    by_b = (pull * learners.b if problem.bias == "penalized" else 0.0) - push.mean(axis=0)
    return pull * learners.w - np.asarray(transposed @ push).T / len(clean.y), by_b
