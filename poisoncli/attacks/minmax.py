"""The min-max attack: highest-loss points against a learner that follows (KSL section 4.3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Array, Task
from poisoncli.core.method import method, option
from poisoncli.sanitization.additive import SIGNS, LinearProblem, Rows, capped, rounded_poison
from poisoncli.sanitization.decoys import QUANTILES, REPEATS, Decoy, decoys
from poisoncli.sanitization.feasible_set import FeasibleSet
from poisoncli.sanitization.minmax_multiclass import MinMaxSettings, burn_in_of, search_multiclass
from poisoncli.sanitization.projection import maximize
from poisoncli.sanitization.search import COPIES, SearchOptions, search
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


@method
class MinMax(SearchOptions):
    """Adds the feasible point with the highest loss under a learner that trains along (Algorithm 5).

    Poison points keep a low hinge loss under decoy parameters (eq. 22); every decoy is tried, and the one with the
    highest target error behind the best defense wins. Knows the target rows, the defenses and lambda.

    cap: the highest loss of a poison point under the decoy (tau, Appendix B.3).
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

    def craft(self, key: Array, problem: Problem, resume: Poison | None = None) -> Iterator[Poison]:
        """See `Attack.craft`."""
        if problem.task == "multiclass":
            grid = tuple((r, q) for r in self.repeats[:: len(self.repeats) // 3 or 1] for q in self.quantiles[1::4])
            settings = MinMaxSettings(self.cap, self.rate, self.burn_in, self.points, grid)
            return search_multiclass(key, problem, resume, self, settings)
        return search(key, problem, resume, self, self._plan, self._candidate)

    def _plan(self, problem: LinearProblem) -> tuple[int, list[Decoy]]:
        found = decoys(problem, self.repeats, self.quantiles)
        return len(found), found

    def _candidate(
        self,
        problem: LinearProblem,
        feasible: FeasibleSet,
        found: list[Decoy],
        number: int,
        rng: np.random.Generator,
    ) -> Rows:
        feasible = capped(feasible, found[number].theta, np.full(2, self.cap))
        return highest_loss_points(problem, feasible, self.rate, self.burn_in, self.copies, rng)


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

    def craft(self, key: Array, problem: Problem, resume: Poison | None = None) -> Iterator[Poison]:
        """See `Attack.craft`."""
        if problem.task == "multiclass":
            settings = MinMaxSettings(0.0, self.rate, self.burn_in, self.points, ())
            return search_multiclass(key, problem, resume, self, settings)
        return search(key, problem, resume, self, lambda linear: (1, None), self._candidate)

    def _candidate(
        self, problem: LinearProblem, feasible: FeasibleSet, shared: None, number: int, rng: np.random.Generator
    ) -> Rows:
        return highest_loss_points(problem, feasible, self.rate, self.burn_in, self.copies, rng)


def highest_loss_points(
    problem: LinearProblem,
    feasible: FeasibleSet,
    rate: float,
    burn_in: float,
    copies: int,
    rng: np.random.Generator,
) -> Rows:
    """The highest-loss points of a learner's last steps, each rounded and repeated (Algorithm 5)."""
    clean, n, eps = problem.clean, len(problem.clean.y), problem.epsilon
    points = -(-problem.size // copies)
    burn = round(burn_in_of(burn_in, eps) * points)
    transposed = clean.x.T.tocsr() if hasattr(clean.x, "tocsr") else np.ascontiguousarray(clean.x.T)
    pull = problem.lambda_ * (1 + eps)
    w, b = np.zeros(clean.x.shape[1]), 0.0
    seen_w, seen_b = np.full_like(w, 1e-12), 1e-12
    z = near = None
    rows, labels = [], []
    for step in range(burn + points):
        gain = -SIGNS[:, None] * w
        if step == 0:
            gain = -SIGNS[:, None] * (feasible.center[1] - feasible.center[0])
        found = maximize(feasible, gain, z, near)
        z, near = found.multipliers, found.x
        margin = SIGNS * (near @ w + b)
        worst = int(np.argmin(margin))
        sign, x = SIGNS[worst], near[worst]
        if step >= burn:
            rows.append(x.copy())
            labels.append(sign)
        push = slope(clean.y * (np.asarray(clean.x @ w).ravel() + b), problem.loss) * clean.y
        mine = eps * sign * float(slope(margin[worst : worst + 1], problem.loss)[0])
        by_w = pull * w - np.asarray(transposed @ push).ravel() / n - mine * x
        by_b = (pull * b if problem.bias == "penalized" else 0.0) - float(push.mean()) - mine
        seen_w += by_w**2
        seen_b += by_b**2
        w = w - rate * by_w / np.sqrt(seen_w)
        b = b - rate * by_b / np.sqrt(seen_b)
    sizes = np.full(points, copies)
    sizes[-1] = problem.size - copies * (points - 1)
    return rounded_poison(problem, np.stack(rows), np.array(labels), sizes.tolist(), copies, rng)
