"""From a problem to poison that is added: repetitions, candidates, re-fits, the best so far."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np
import scipy.sparse as sp

from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Array, Sparse, Task
from poisoncli.core.errors import FailedError, PoisonError
from poisoncli.core.losses import toward
from poisoncli.core.method import method, option
from poisoncli.core.random import generator
from poisoncli.core.victim import Exact
from poisoncli.sanitization import filters, room
from poisoncli.sanitization.additive import (
    BATCH,
    BestSoFar,
    LinearProblem,
    Rows,
    best_candidates,
    evading_set,
)
from poisoncli.sanitization.feasible_set import FeasibleSet
from poisoncli.sanitization.filters import SANITIZERS
from poisoncli.sanitization.room import Work
from poisoncli.sanitization.schema import schema
from poisoncli.training.cores import usable_cores

_LARGE = 10_000  # rows, beyond which the svd defense is too slow to be asked in a search
QUICK_FIRST = ("loss", "l2", "slab", "knn", "svd")
COPIES: Any = option(2, low=1, high=1000, doc="rows that stand for each rounded point (section 3.3).")
Plan = Callable[[LinearProblem], tuple[int, Any]]  # number of candidates, and what they share
Candidate = Callable[[LinearProblem, FeasibleSet, Any, int, np.random.Generator], Rows]
Candidates = Callable[
    [LinearProblem, FeasibleSet, Any, Sequence[int], Sequence[np.random.Generator]], list[Rows | None]
]
_CURE = "take fewer rows, a smaller --fraction, or less -o repeats and -o quantiles where it has them"
_NUMBERS = 120_000  # features of the candidates that are crafted as one array, which then stay in a core's cache


class Together(NamedTuple):
    """Candidates that are crafted as one array: `craft` takes several numbers; None where a set is empty."""

    craft: Candidates


@method
class SearchOptions:
    """Options and declarations of the attacks that add rows and search for those that pass the filters (KSL).

    A method that derives from it has them, with their ranges and their lines in its docstring.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("binary",)
    adds: ClassVar[bool] = True
    sparse: ClassVar[bool] = True
    victims: ClassVar[tuple[str, ...]] = ("svm",)
    evades: ClassVar[tuple[str, ...]] = ("l2", "slab")

    quantile: float = option(
        default=0.9, low=0, high=1, doc="of the clean rows' scores under L2 and slab; poison keeps below it."
    )
    refits: int = option(
        default=0,
        low=0,
        high=100,
        doc="how often the feasible set is fitted again, on clean rows and poison (Algorithm 1).",
    )
    remove: float = option(default=0.05, low=0, high=0.5, doc="share of each class that the defender drops.")
    behind: tuple[str, ...] = option(
        default=SANITIZERS,
        choices=SANITIZERS,
        doc=f"the defenses behind which the winner is chosen (svd only on at most {_LARGE:,} rows).",
    )
    target: str = option(
        default="test",
        choices=("test", "train", "val"),
        doc="the rows to be classified wrongly: `test`, `train` or `val`.",
    )


def additions(problem: Problem, options: SearchOptions) -> list[LinearProblem]:
    """The problem of each repetition, with labels -1 and 1. Raises `PoisonError` if the victim is not linear."""
    victim = problem.objective.model
    if not isinstance(victim, Exact):
        raise PoisonError("this attack needs a linear victim trained to the optimum: choose --model svm")
    coefficient = np.exp(problem.log_lambda[:, 0].astype(float)) / len(problem.train.y[0])
    if not np.all((coefficient > 0) & np.isfinite(coefficient)):
        raise PoisonError("this attack needs a victim with a penalty: give --lambda, such as 0.09")
    threat = problem.threat
    small = len(problem.train.y[0]) <= _LARGE
    return [
        LinearProblem(
            clean=Rows(problem.train.x[r], 2.0 * np.asarray(problem.train.y[r]) - 1),
            target=_binary_target(problem, r),
            size=threat.counts[-1],
            lambda_=float(coefficient[r]),
            loss=victim.loss,
            bias=victim.bias,
            low=of_repetition(threat.low, r),
            high=of_repetition(threat.high, r),
            integer=threat.integer,
            remove=options.remove,
            defenses=tuple(name for name in QUICK_FIRST if name in options.behind and (name != "svd" or small)),
            schema=schema(problem, r),
            label=2.0 * problem.poison_label - 1 if isinstance(problem.poison_label, int) else 0.0,
        )
        for r in range(len(problem.train.y))
    ]


def _binary_target(problem: Problem, r: int) -> Rows:
    """The target rows with the label -1 or 1 that they shall not be given."""
    x, y = targeted(problem, r)
    signs = 2.0 * np.asarray(y) - 1
    return Rows(x, -signs if pushes(problem) else signs)


def pushes(problem: Problem) -> bool:
    """Whether the labels of the target rows are those that they shall be given, and not those that they have."""
    return problem.objective.outer is toward


def targeted(problem: Problem, r: int) -> tuple[Array, np.ndarray]:
    """Features and labels of the target rows of a repetition that count."""
    x, y, weight = (leaf[r] for leaf in problem.target)
    there = np.asarray(weight) > 0
    return (x, y) if there.all() else (x[np.flatnonzero(there)], np.asarray(y)[there])


def of_repetition(bound: Array, r: int) -> Array:
    """A bound of the features, a scalar or [m]."""
    return bound[r] if np.ndim(bound) == 2 else bound


def search(
    key: Array,
    problem: Problem,
    resume: Poison | None,
    options: SearchOptions,
    plan: Plan,
    candidate: Candidate | Together,
    decoys: float = 0.0,
    points: int = 2,
) -> Iterator[Poison]:
    """Search the best candidate of every repetition, and yield the best so far as poison.

    plan: the number of candidates and what they share; candidate: the poison of one number within a feasible set,
    for which it raises `FailedError` where it is empty, or that of several `Together`.
    decoys: rows that the largest decoy adds, for each target row; points: how many are moved as one array; both
    tell what memory it takes. Raises `PoisonError` where there is less.
    options.refits: after all candidates, the set is fitted on clean rows and the best poison, and all are tried
    again (KSL Algorithm 1). The trace of `Poison.loss` holds each candidate's target error behind the defenses,
    or, once it could not win, an upper bound of it; -1 where its feasible set is empty.
    """
    linears = additions(problem, options)
    candidates = candidate.craft if isinstance(candidate, Together) else functools.partial(_each, candidate)
    at_once = max(1, _NUMBERS // linears[0].clean.x.shape[1]) if isinstance(candidate, Together) else 1
    work = Work(linears[0].clean.x, linears[0].size, decoys * len(linears[0].target.y), points)
    cores = usable_cores()
    if isinstance(candidate, Together):
        work = work._replace(points=2 * at_once * cores)
    work = work._replace(cores=cores if decoys else 1, knn="knn" in linears[0].defenses)
    room.check(work, _CURE)
    plans = [plan(linear) for linear in linears]
    rounds = options.refits + 1
    total = rounds * sum(count for count, _ in plans)
    most = rounds * max(count for count, _ in plans)
    waiting = min(most, max(BATCH, at_once))
    room.check(work._replace(waiting=waiting, cores=max(work.cores, min(cores, most))), _CURE)
    poison = blank(problem, [linear.clean.x for linear in linears], most, total)
    if resume is not None and (rounds == 1 or resume.done <= plans[0][0]):  # else the set of the round is not known
        poison = resume
    done = 0
    for r, (linear, (count, shared)) in enumerate(zip(linears, plans, strict=True)):
        if "svd" in linear.defenses:
            linear = linear._replace(basis=(filters.right_singular(linear.clean.x, share=0.04),))
        if "knn" in linear.defenses:
            linear = linear._replace(near=(filters.neighbors(linear.clean.x, 5),))
        best: BestSoFar | None = None
        for turn in range(rounds):
            feasible = evading_set(linear, options.evades, options.quantile, best.poison if best else None)
            known = poison.loss[r, 1, turn * count : (turn + 1) * count].astype(float)
            start = BestSoFar(best.poison if best else None, best.error if best else -1.0, np.full(count, np.nan))
            if np.any(~np.isnan(known)):
                start = BestSoFar(_rows(poison, r), float(np.nanmax(known)), known)
            draws = jax.random.fold_in(jax.random.fold_in(key, r), turn)

            def craft(
                numbers: Sequence[int],
                linear: LinearProblem = linear,
                feasible: FeasibleSet = feasible,
                shared: Any = shared,
                draws: Array = draws,
            ) -> list[Rows | None]:
                own = [generator(jax.random.fold_in(draws, number)) for number in numbers]
                return candidates(linear, feasible, shared, numbers, own)

            for best in best_candidates(linear, count, craft, start, at_once):
                finished = int(np.sum(~np.isnan(best.trace)))
                loss = poison.loss.copy()
                loss[r, 1, turn * count : turn * count + count] = best.trace
                poison = (put(poison, r, _labels(best.poison)) if best.poison else poison)._replace(
                    loss=loss, done=done + turn * count + finished
                )
                yield poison
        done += rounds * count


def _each(
    candidate: Candidate,
    problem: LinearProblem,
    feasible: FeasibleSet,
    shared: Any,
    numbers: Sequence[int],
    draws: Sequence[np.random.Generator],
) -> list[Rows | None]:
    """One candidate after another."""
    found: list[Rows | None] = []
    for number, rng in zip(numbers, draws, strict=True):
        try:
            found.append(candidate(problem, feasible, shared, number, rng))
        except FailedError:
            found.append(None)
    return found


def blank(problem: Problem, clean: list[Array], most: int, total: int) -> Poison:
    """Harmless poison, copies of the first clean rows of each repetition, to be replaced.

    most: candidates of a repetition, total: of all.
    """
    count, repetitions = problem.threat.counts[-1], len(clean)
    rows = np.arange(count) % clean[0].shape[0]
    x: Any = [part[rows] for part in clean]
    return Poison(
        x=Sparse(x) if sp.issparse(x[0]) else np.stack(x).astype(np.float32),
        y=np.stack([np.asarray(y)[rows] for y in problem.train.y]).astype(np.float32),
        replaced=np.full((repetitions, count), -1),
        counts=np.asarray(problem.threat.counts),
        log_lambda=np.repeat(problem.log_lambda[:, None], 2, axis=1).astype(np.float32),
        loss=np.full((repetitions, 2, most), np.nan, np.float32),
        done=0,
        total=total,
    )


def _rows(poison: Poison, r: int) -> Rows:
    return Rows(poison.x[r], 2.0 * poison.y[r] - 1)


def _labels(rows: Rows) -> Rows:
    return Rows(rows.x, (rows.y + 1) / 2)


def put(poison: Poison, r: int, rows: Rows) -> Poison:
    """`poison` with the rows of one repetition, whose labels are 0, 1, ..."""
    y = poison.y.copy()
    y[r] = rows.y
    if isinstance(poison.x, Sparse):
        return poison._replace(x=Sparse([*poison.x[:r], rows.x.astype(np.float32), *poison.x[r + 1 :]]), y=y)
    x = poison.x.copy()
    x[r] = rows.x
    return poison._replace(x=x, y=y)
