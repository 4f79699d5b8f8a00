"""Attacks that add rows to clean data and must pass the sanitization defenses: what they see, and what they share.

Shapes: n clean rows, t target rows, d features, p distinct poison points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from poisoncli.core.data import Array
from poisoncli.core.errors import FailedError
from poisoncli.sanitization import filters
from poisoncli.sanitization.feasible_set import FeasibleSet
from poisoncli.sanitization.schema import Schema
from poisoncli.training.cores import usable_cores
from poisoncli.training.linear import Linear, error, fit, margins

SIGNS = np.array([-1.0, 1.0])
_TOLERANCE = 1e-3  # of liblinear; the victim itself is trained to 1e-5
SLOW = ("svd",)  # defenses that are asked last
# candidates judged against the same best so far, 2 where there are few; fixed, so that cores do not change results
BATCH = 8
_ROWS = 64  # rounded at a time


class Rows(NamedTuple):
    """Features x [n, d], dense or CSR, and labels y [n] in {-1, 1}."""

    x: Array
    y: np.ndarray


class LinearProblem(NamedTuple):
    """What an attack sees that adds rows to a binary linear classifier's training data.

    clean: the training rows; target: the rows that are to be classified wrongly.
    size: rows that it adds. lambda_, loss, bias: of the victim, see `linear.fit`.
    low, high: domain of the features, scalars or [d]; integer: whether they are whole numbers.
    remove: share of each class that the defender drops; defenses: which ones the winner is chosen behind.
    basis: the right singular vectors of the clean rows, from which those with poison are found fast.
    near: the clean rows' squared distances to their nearest neighbors [n, k], for the same reason.
    schema: what a row of the user's table may be; None where there is none, or whole numbers are all of it.
    label: -1 or 1 where all poison shall have it, else 0.
    """

    clean: Rows
    target: Rows
    size: int
    lambda_: float
    loss: str
    bias: str
    low: np.ndarray
    high: np.ndarray
    integer: bool
    remove: float = 0.05
    defenses: tuple[str, ...] = ("loss", "l2", "slab", "knn", "svd")
    basis: tuple[np.ndarray, ...] = ()
    near: tuple[np.ndarray, ...] = ()
    schema: Schema | None = None
    label: float = 0.0

    @property
    def epsilon(self) -> float:
        """Poison rows for each clean row."""
        return self.size / len(self.clean.y)

    def train(self, rows: Rows) -> Linear:
        """The victim on these rows, as exact as a search needs."""
        return fit(rows.x, rows.y, self.lambda_, self.loss, self.bias, _TOLERANCE)


def stack(*parts: Rows) -> Rows:
    """The rows of all parts, in order; sparse if the first part is."""
    if sp.issparse(parts[0].x):
        x = sp.vstack([sp.csr_matrix(part.x) for part in parts], format="csr")
    else:
        x = np.concatenate([np.asarray(part.x) for part in parts])
    return Rows(x, np.concatenate([part.y for part in parts]))


def evading_set(
    problem: LinearProblem,
    defenses: Sequence[str] = ("l2", "slab"),
    quantile: float = 0.9,
    poison: Rows | None = None,
) -> FeasibleSet:
    """The sets, first of class -1, then of class 1, that pass these defenses as fitted on the clean rows.

    quantile: of the clean rows' scores in each class, the radius of the ball and half the width of the slab.
    poison: fit on clean rows and poison (KSL Algorithm 1). Integer features are capped at the largest value of
    their column, at least 1 and at most 50 (the code of KSL's authors), and the ball is replaced by its envelope.
    """
    clean = problem.clean
    seen = clean if poison is None else stack(clean, poison)
    d = clean.x.shape[1]
    _, center = filters.centroids(seen.x, seen.y)
    v = center[1] - center[0]
    radius, rows, bounds = np.full(2, np.inf), np.zeros((2, 0, d)), np.zeros((2, 0))
    if problem.schema is not None:
        rows, bounds = (np.stack([part, part]) for part in problem.schema.shares())
    members = [clean.x[clean.y == sign] for sign in SIGNS]
    if "l2" in defenses:
        radius = np.array(
            [np.quantile(filters.distances(m, c), quantile) for m, c in zip(members, center, strict=True)]
        )
    feasible = FeasibleSet(*_box(problem), center, radius, rows, bounds, problem.integer, bounds.shape[1])
    if "slab" in defenses:
        middle = center @ v
        half = [
            np.quantile(np.abs(np.asarray(m @ v).ravel() - c), quantile)
            for m, c in zip(members, middle, strict=True)
        ]
        feasible = feasible.cut(
            np.stack([[v, -v]] * 2), np.stack([[c + h, h - c] for c, h in zip(middle, half, strict=True)])
        )
    return feasible


def _box(problem: LinearProblem) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.asarray(problem.low, float), np.asarray(problem.high, float)
    if not problem.integer:
        return low, high
    largest = problem.clean.x.max(axis=0)
    largest = np.asarray(largest.toarray() if sp.issparse(largest) else largest, float).ravel()
    return low, np.minimum(np.minimum(np.maximum(largest, 1), 50), high)


def capped(feasible: FeasibleSet, decoy: Linear, caps: np.ndarray, support: bool = False) -> FeasibleSet:
    """Cut sets of class -1 and 1 to where the hinge loss under `decoy` is at most caps [2] (KSL eq. 22).

    support: also to 1 - y f(x) >= 0, so that the points are support vectors (eq. 17).
    """
    normal = -SIGNS[:, None, None] * decoy.w
    bounds = (caps - 1 + SIGNS * decoy.b)[:, None]
    if support:
        normal = np.concatenate([normal, -normal], axis=1)
        bounds = np.concatenate([bounds, (1 - SIGNS * decoy.b)[:, None]], axis=1)
    return feasible.cut(normal, bounds)


def rounded(
    x: np.ndarray, copies: int, repeat: int, integer: bool, rng: np.random.Generator, sparse: bool = False
) -> Array:
    """`copies` rows of the point x [d]; integer features are rounded at random with mean x (KSL section 3.3).

    repeat: each rounded row stands there that many times, as far as `copies` goes. sparse: give them as CSR.
    """
    used = np.flatnonzero(x)
    kept = np.arange(copies) // repeat
    distinct = -(-copies // repeat)
    low = np.floor(x[used]) if integer else x[used]
    parts = []
    for first in range(0, distinct, _ROWS):  # a whole array of random numbers would be large
        size = (min(_ROWS, distinct - first), len(used))
        part = low + (rng.random(size) < x[used] - low) if integer else np.tile(low, (size[0], 1))
        parts.append(sp.csr_matrix(part) if sparse else part)
    if sparse:
        every: Any = sp.vstack(parts, format="csr")
        rows = every[kept]
        return sp.csr_matrix((rows.data, used[rows.indices], rows.indptr), shape=(copies, len(x)))
    whole = np.zeros((copies, len(x)))
    whole[:, used] = np.concatenate(parts)[kept]
    return whole


def two_point_poison(
    problem: LinearProblem, points: np.ndarray, copies: Sequence[int], repeat: int, rng: np.random.Generator
) -> Rows:
    """Poison of copies[0] rows of points[0] in class -1 and copies[1] of points[1] in class 1."""
    return rounded_poison(problem, points, SIGNS, copies, repeat, rng)


def rounded_poison(
    problem: LinearProblem,
    points: np.ndarray,
    labels: np.ndarray,
    copies: Sequence[int],
    repeat: int,
    rng: np.random.Generator,
) -> Rows:
    """Poison of copies[i] rounded rows of points[i] [p, d] with labels[i]; CSR if the clean rows are."""
    sparse = sp.issparse(problem.clean.x)
    some = [(x, label, k) for x, label, k in zip(points, labels, copies, strict=True) if k]
    schema = problem.schema
    parts = [
        schema.copies(x, k, repeat, rng, sparse) if schema else rounded(x, k, repeat, problem.integer, rng, sparse)
        for x, _, k in some
    ]
    x: Any = sp.vstack(parts, format="csr") if sparse else np.concatenate(parts)
    return Rows(x, np.repeat([label for _, label, _ in some], [k for _, _, k in some]))


def like_clean(problem: LinearProblem, x: np.ndarray, y: np.ndarray) -> Rows:
    """Rows like the clean ones: CSR if these are."""
    return Rows(sp.csr_matrix(x) if sp.issparse(problem.clean.x) else x, y)


def damage(problem: LinearProblem, poison: Rows, defenses: Sequence[str], floor: float = -1.0) -> float:
    """The target error behind the best of the defenses; once it cannot pass `floor`, something up to `floor`."""
    seen = stack(problem.clean, poison)
    worst = np.inf
    for name in defenses:
        kept = filters.keep(scores(problem, name, seen), seen.y, problem.remove)
        theta = problem.train(Rows(seen.x[kept], seen.y[kept]))
        worst = min(worst, error(theta, *problem.target))
        if worst <= floor:
            break
    return worst


def scores(problem: LinearProblem, name: str, seen: Rows) -> np.ndarray:
    """The scores [n] that the defense `name` gives to the rows it sees."""
    if name == "loss":
        return -margins(problem.train(seen), *seen)
    if name == "svd":
        clean = problem.basis[0] if problem.basis else filters.right_singular(problem.clean.x)
        return filters.residuals(seen.x, filters.right_singular_near(seen.x, clean, len(problem.clean.y)))
    if name == "knn":
        return (
            filters.neighbor_scores_with(seen.x, problem.near[0])
            if problem.near
            else filters.neighbor_scores(seen.x)
        )
    return {"l2": filters.l2_scores, "slab": filters.slab_scores}[name](*seen)


class BestSoFar(NamedTuple):
    """The best poison so far, its target error behind the defenses, and those of the candidates so far."""

    poison: Rows | None
    error: float
    trace: np.ndarray


def best_candidates(
    problem: LinearProblem,
    count: int,
    craft: Callable[[Sequence[int]], list[Rows | None]],
    begun: BestSoFar | None = None,
    at_once: int = 1,
) -> Iterator[BestSoFar]:
    """Craft and judge candidates 0 ... count - 1 on all cores, and yield the best so far after every few.

    craft: the poison of some numbers; None where a set is empty. at_once: of them are crafted, as an array for
    each core, before they are judged and the best is yielded. begun: go on from there. The result does not depend
    on the number of cores. Raises `FailedError` if none could be crafted.
    """
    best = begun or BestSoFar(None, -1.0, np.full(count, np.nan))
    first = int(np.sum(~np.isnan(best.trace)))

    quick = [name for name in problem.defenses if name not in SLOW]
    slow = [name for name in problem.defenses if name in SLOW]

    def judge(poison: Rows | None) -> float:
        try:
            return -1.0 if poison is None else damage(problem, poison, quick, best.error)
        except FailedError:
            return -1.0

    cores = usable_cores()  # each thread takes one: BLAS with threads of its own would ask for their square
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(cores) as pool:
        size = BATCH if count > 2 * BATCH else 2
        crafted: dict[int, Rows | None] = {}
        for start in range(first, count, size):
            numbers = range(start, min(count, start + size))
            if numbers[-1] not in crafted:
                ahead = [n for n in range(start, min(count, start + max(size, at_once))) if n not in crafted]
                each = min(at_once, -(-len(ahead) // cores))  # what is found for one does not depend on others
                groups = [ahead[i : i + each] for i in range(0, len(ahead), each)]
                for group, made in zip(groups, pool.map(craft, groups), strict=True):
                    crafted.update(zip(group, made, strict=True))
            here = {number: crafted.pop(number) for number in numbers}
            trace = best.trace.copy()
            trace[numbers] = list(pool.map(judge, here.values()))
            found = best
            for number in sorted(numbers, key=lambda i: (-trace[i], i)):
                poison = here[number]
                if poison is None or trace[number] <= found.error:
                    break
                trace[number] = min(trace[number], damage(problem, poison, slow, found.error))
                if trace[number] > found.error:
                    found = BestSoFar(poison, float(trace[number]), trace)
            best = found._replace(trace=trace)
            yield best
    if best.poison is None:
        raise FailedError(
            "no poison was found within the feasible set: raise -o quantile or -o cap, or give up a defense"
        )
