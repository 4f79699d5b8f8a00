"""The KKT attack: two points that make decoy parameters optimal (KSL section 4.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Array
from poisoncli.core.method import method, option
from poisoncli.sanitization.additive import SIGNS, LinearProblem, Rows, capped, two_point_poison
from poisoncli.sanitization.decoys import QUANTILES, REPEATS, Decoy, decoys
from poisoncli.sanitization.feasible_set import FeasibleSet
from poisoncli.sanitization.projection import project
from poisoncli.sanitization.search import COPIES, SearchOptions, search
from poisoncli.training.linear import margins, slope

_ROUNDS = 60  # of alternating between the two points, at most


@method
class KKT(SearchOptions):
    """Finds decoy parameters with a high target error, and one point of each class that makes them optimal.

    For every decoy and every split of the poison over the classes, the gradient of the victim's objective at the
    decoy is brought as near to zero as the feasible set allows (eq. 17); the candidate with the highest target
    error behind the best defense wins. Knows the target rows, the defenses and lambda.

    splits: shares of the poison in class 1, evenly spaced, to which the one that balances the bias is added.
    quantile: of the clean rows' scores under L2, slab and the loss at the decoy; poison keeps below it.
    """

    tuned: ClassVar[tuple[str, ...]] = ("repeats", "quantiles")

    repeats: tuple[int, ...] = REPEATS
    quantiles: tuple[float, ...] = QUANTILES
    splits: int = option(default=7, low=1, high=1000)
    copies: int = COPIES

    def craft(self, key: Array, problem: Problem, resume: Poison | None = None) -> Iterator[Poison]:
        """See `Attack.craft`."""
        return search(key, problem, resume, self, self._plan, self._candidate)

    def _plan(self, problem: LinearProblem) -> tuple[int, list[Decoy]]:
        found = decoys(problem, self.repeats, self.quantiles)
        return len(found) * (self.splits + 1), found

    def _candidate(
        self,
        problem: LinearProblem,
        feasible: FeasibleSet,
        found: list[Decoy],
        number: int,
        rng: np.random.Generator,
    ) -> Rows:
        decoy, split = found[number // (self.splits + 1)], number % (self.splits + 1)
        gradient, by_bias = target_gradient(problem, decoy)
        shares = np.linspace(0, 1, self.splits) if self.splits > 1 else np.array([0.5])
        balanced = float(np.clip(0.5 + 0.5 * by_bias / problem.epsilon, 0, 1))
        order = [balanced, *shares[np.argsort(np.abs(shares - 0.5), kind="stable")]]
        above = round(order[split] * problem.size)
        copies = (problem.size - above, above)
        scores = [1 - margins(decoy.theta, problem.clean.x[problem.clean.y == sign], sign) for sign in SIGNS]
        caps = np.array([max(0.0, np.quantile(score, self.quantile)) for score in scores])  # the hinge's, clipped
        reachable = capped(feasible, decoy.theta, caps, support=problem.loss == "hinge")
        points, _ = two_points(problem, decoy, reachable, gradient, np.array(copies) / len(problem.clean.y))
        return two_point_poison(problem, points, copies, self.copies, rng)


def target_gradient(problem: LinearProblem, decoy: Decoy) -> tuple[np.ndarray, float]:
    """What the poison has to undo at the decoy: the gradient by w [d] and by b (KSL eq. 17).

    The penalty counts 1 + epsilon times, as the mean runs over the clean rows alone.
    """
    clean, theta = problem.clean, decoy.theta
    push = slope(margins(theta, *clean), problem.loss) * clean.y
    pull = (1 + problem.epsilon) * problem.lambda_
    by_bias = -float(push.mean()) + (pull * theta.b if problem.bias == "penalized" else 0.0)
    return pull * theta.w - np.asarray(clean.x.T @ push).ravel() / len(push), by_bias


def two_points(
    problem: LinearProblem, decoy: Decoy, feasible: FeasibleSet, gradient: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, float]:
    """One point of each class [2, d] that minimizes |gradient - w_1 x_1 + w_-1 x_-1|^2, and that minimum.

    weights: poison rows of class -1 and 1 for each clean row [2]. Minimizes over one point and the other by turns,
    each time a projection, until the objective falls by less than 0.1 %. For a loss other than the hinge the
    weights are multiplied by its slope at the points as they are, which is a local method (section 4.2.2).
    """
    used = np.flatnonzero(weights > 0)
    x = feasible.center.copy()
    z: list[np.ndarray | None] = [None, None]
    last = value = np.inf
    w = weights
    for _ in range(_ROUNDS):
        for i in used:
            w = weights
            if problem.loss != "hinge":
                w = weights * slope(SIGNS * (x @ decoy.theta.w + decoy.theta.b), problem.loss)
            rest = gradient + (w[0] * x[0] if i == 1 else -w[1] * x[1])
            found = project(feasible.pick(np.array([i])), SIGNS[i] * rest[None] / w[i], z[i])
            x[i], z[i] = found.x[0], found.multipliers
        value = float(np.sum((gradient + w[0] * x[0] - w[1] * x[1]) ** 2))
        if value > 0.999 * last:
            break
        last = value
    return x, value
