"""The KKT attack: two points that make decoy parameters optimal (KSL section 4.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Array
from poisoncli.core.method import method, option
from poisoncli.sanitization.additive import SIGNS, LinearProblem, Rows, capped, two_point_poison
from poisoncli.sanitization.decoys import QUANTILES, REPEATS, Decoy, decoys
from poisoncli.sanitization.feasible_set import FeasibleSet, joined
from poisoncli.sanitization.projection import project
from poisoncli.sanitization.search import COPIES, SearchOptions, Together, search
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
        most = max(self.repeats, default=0) * max(self.quantiles, default=0)
        return search(key, problem, resume, self, self._plan, Together(self._candidates), decoys=most)

    def _plan(self, problem: LinearProblem) -> tuple[int, list[Decoy]]:
        found = decoys(problem, self.repeats, self.quantiles)
        return len(found) * (self.splits + 1), found

    def _candidates(
        self,
        problem: LinearProblem,
        feasible: FeasibleSet,
        found: list[Decoy],
        numbers: Sequence[int],
        draws: Sequence[np.random.Generator],
    ) -> list[Rows | None]:
        chosen = [found[number // (self.splits + 1)] for number in numbers]
        undone = {id(decoy): target_gradient(problem, decoy) for decoy in chosen}
        sets = {id(decoy): self._reachable(problem, feasible, decoy) for decoy in chosen}
        copies = [
            self._copies(problem, undone[id(decoy)][1], number % (self.splits + 1))
            for decoy, number in zip(chosen, numbers, strict=True)
        ]
        points, _ = two_points(
            problem,
            chosen,
            joined([sets[id(decoy)] for decoy in chosen]),
            np.stack([undone[id(decoy)][0] for decoy in chosen]),
            np.array(copies) / len(problem.clean.y),
        )
        return [
            None if np.isnan(x).any() else two_point_poison(problem, x, count, self.copies, rng)
            for x, count, rng in zip(points, copies, draws, strict=True)
        ]

    def _copies(self, problem: LinearProblem, by_bias: float, split: int) -> tuple[int, int]:
        """Poison rows of class -1 and of class 1 in the split of that number."""
        shares = np.linspace(0, 1, self.splits) if self.splits > 1 else np.array([0.5])
        balanced = float(np.clip(0.5 + 0.5 * by_bias / problem.epsilon, 0, 1))
        order = [balanced, *shares[np.argsort(np.abs(shares - 0.5), kind="stable")]]
        above = round(order[split] * problem.size)
        return problem.size - above, above

    def _reachable(self, problem: LinearProblem, feasible: FeasibleSet, decoy: Decoy) -> FeasibleSet:
        """`feasible` cut to where the loss under the decoy is that of most clean rows."""
        scores = [1 - margins(decoy.theta, problem.clean.x[problem.clean.y == sign], sign) for sign in SIGNS]
        caps = np.array([max(0.0, np.quantile(score, self.quantile)) for score in scores])  # the hinge's, clipped
        return capped(feasible, decoy.theta, caps, support=problem.loss == "hinge")


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
    problem: LinearProblem,
    chosen: Sequence[Decoy],
    feasible: FeasibleSet,
    gradient: np.ndarray,
    weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """One point of each class that minimizes |gradient - w_1 x_1 + w_-1 x_-1|^2, and that minimum, c times over.

    chosen: the decoys [c]; feasible: the sets of class -1 and 1 of each in turn [2 c]; gradient [c, d]; weights:
    poison rows of class -1 and 1 for each clean row [c, 2]. Returns points [c, 2, d], NaN where a set is empty, and
    values [c]. Minimizes over one point and the other by turns, each time a projection, until the objective falls
    by less than 0.1 %. For a loss other than the hinge the weights are multiplied by its slope at the points as
    they are, which is a local method (section 4.2.2).
    """
    x = feasible.center.reshape(len(chosen), 2, -1).copy()
    z = np.zeros((len(chosen), 2, 1 + feasible.rows.shape[1]))
    theta = np.stack([decoy.theta.w for decoy in chosen]), np.array([decoy.theta.b for decoy in chosen])
    last = value = np.full(len(chosen), np.inf)
    left, w = np.arange(len(chosen)), weights.astype(float)
    for _ in range(_ROUNDS):
        for i in (0, 1):
            some = left[weights[left, i] > 0]
            if not len(some):
                continue
            w[some] = weights[some]
            if problem.loss != "hinge":
                outputs = np.einsum("cpd,cd->cp", x[some], theta[0][some]) + theta[1][some, None]
                w[some] *= slope(SIGNS * outputs, problem.loss)
            other = w[some, 1 - i, None] * x[some, 1 - i]
            rest = gradient[some] + (other if i == 1 else -other)
            aim = SIGNS[i] * rest / w[some, i, None]
            found = project(feasible.pick(2 * some + i), aim, z[some, i], lenient=True)
            x[some, i], z[some, i] = found.x, found.multipliers
        remaining = gradient[left] + w[left, :1] * x[left, 0] - w[left, 1:] * x[left, 1]
        value = value.copy()
        value[left] = np.sum(remaining**2, axis=1)
        left = left[value[left] <= 0.999 * last[left]]
        if not len(left):
            break
        last = value
    return x, value
