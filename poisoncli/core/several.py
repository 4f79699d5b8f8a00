"""The min-max attack on several classes (KSL sections 4.3 and 5.7): it chooses labels as it goes.

Shapes: n clean rows, d features, k classes, p = k (k - 1) pairs of a poison point's label and its rival.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.sparse as sp

from poisoncli.core import sanitize
from poisoncli.core.additive import Rows, rounded, stack
from poisoncli.core.campaign import Rules, blank, put
from poisoncli.core.feasible import Region, maximize
from poisoncli.core.multiclass import Machine, gradient, outputs, rivals
from poisoncli.core.start import generator
from poisoncli.core.types import Array, Exact, FailedError, Poison, PoisonError, Problem

JUDGES = ("l2", "slab", "loss")  # defenses behind which candidates are compared; the others take too long here
_SOME = 3000  # clean rows that the learner trains on in the attack, drawn at random
_FIRST = 1e-8


class Chase(NamedTuple):
    """How the learner is chased: see `attacks.minmax.MinMax`; points: distinct poison points, at most."""

    cap: float
    rate: float
    burn_in: float
    points: int
    decoys: tuple[tuple[int, float], ...]


class World(NamedTuple):
    """What the attack sees of a repetition: rows with labels 0 ... k - 1, the victim, and what it may add."""

    clean: Rows
    target: Rows
    size: int
    k: int
    victim: Exact
    lambda_: float
    low: Array
    high: Array
    integer: bool

    def train(self, rows: Rows) -> Machine:
        """The victim on these rows."""
        layer = self.victim.optimum(rows.x, rows.y, self.lambda_)[0]
        return Machine(np.asarray(layer["w"], float), np.asarray(layer["b"], float))


def campaign_several(
    key: Array, problem: Problem, resume: Poison | None, rules: Rules, chase: Chase
) -> Iterator[Poison]:
    """Try every decoy, none where `chase.decoys` is empty, and yield the best poison so far of each repetition.

    rules.refits: after all decoys, the balls are fitted on clean rows and the best poison, and all are tried again.
    """
    worlds = [_world(problem, r) for r in range(len(problem.train.y))]
    count, rounds = max(1, len(chase.decoys)), rules.refits + 1
    behind = [name for name in JUDGES if name in rules.behind]
    poison = blank(problem, [world.clean.x for world in worlds], rounds * count, rounds * count * len(worlds))
    if resume is not None and (rounds == 1 or resume.done <= count):  # else the set of the round is not known
        poison = resume
    for r, world in enumerate(worlds):
        region = _region(world, rules.quantile)
        for number in range(rounds * count):
            if number % count == 0 and number:
                best = Rows(poison.x[r], np.asarray(poison.y[r], int))
                region = _region(world, rules.quantile, best)
            if not np.isnan(poison.loss[r, 1, number]):
                continue
            rng = generator(jax.random.fold_in(jax.random.fold_in(key, r), number))
            decoy = decoy_of(world, *chase.decoys[number % count]) if chase.decoys else None
            try:
                found = pursue(world, _under(region, decoy, chase.cap), chase, rng)
                error = least_error(world, found, behind, rules.remove)
            except FailedError:
                if number + 1 == count and not np.nanmax(poison.loss[r, 1], initial=-1) > 0:
                    raise
                found, error = None, -1.0
            if found is not None and error > np.nanmax(poison.loss[r, 1], initial=-1.0):
                poison = put(poison, r, found)
            loss = poison.loss.copy()
            loss[r, 1, number] = error
            poison = poison._replace(loss=loss, done=poison.done + 1)
            yield poison


def _world(problem: Problem, r: int) -> World:
    victim = problem.objective.model
    if not isinstance(victim, Exact):
        raise PoisonError("several classes need --model multisvm")
    y = np.asarray(problem.train.y[r], int)
    rows, target = Rows(problem.train.x[r], y), Rows(problem.target.x[r], np.asarray(problem.target.y[r], int))
    threat = problem.threat
    lambda_ = float(np.exp(float(problem.log_lambda[r, 0]))) / len(y)
    size = threat.counts[-1]
    return World(rows, target, size, int(y.max()) + 1, victim, lambda_, threat.low, threat.high, threat.integer)


def pairs(k: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and rivals [p]."""
    label, rival = np.nonzero(~np.eye(k, dtype=bool))
    return label, rival


def _region(world: World, quantile: float, poison: Rows | None = None) -> Region:
    """The ball round the centroid of each pair's label, within the box; centroids of clean rows and poison."""
    x, y = world.clean
    _, center = sanitize.centroids(*(world.clean if poison is None else stack(world.clean, poison)))
    radius = np.array([np.quantile(sanitize.distances(x[y == c], center[c]), quantile) for c in range(world.k)])
    label, _ = pairs(world.k)
    none = np.zeros((len(label), 0))
    low, high = np.asarray(world.low, float), np.asarray(world.high, float)
    return Region(low, high, center[label], radius[label], none[:, :, None] * center[0], none, world.integer)


def _under(region: Region, decoy: Machine | None, cap: float) -> Region:
    """Cut to where a point's loss against its pair's rival is at most `cap` under the decoy."""
    if decoy is None:
        return region
    label, rival = pairs(len(decoy.b))
    normal = decoy.w[rival] - decoy.w[label]
    return region.cut(normal[:, None], (cap - 1 + decoy.b[label] - decoy.b[rival])[:, None])


def decoy_of(world: World, repeats: int, quantile: float) -> Machine:
    """The victim on clean rows and the target rows it classifies worst, labelled with their rivals."""
    margin, rival = rivals(outputs(world.train(world.clean), world.target.x), world.target.y)
    worst = np.flatnonzero(margin <= np.quantile(margin, quantile))
    return world.train(stack(world.clean, *[Rows(world.target.x[worst], rival[worst])] * repeats))


def pursue(world: World, region: Region, chase: Chase, rng: np.random.Generator) -> Rows:
    """The feasible points with the highest loss under a learner of AdaGrad, in its last steps (Algorithm 5)."""
    x, y = world.clean
    chosen = rng.permutation(len(y))[:_SOME]
    x, y, epsilon = x[chosen], y[chosen], world.size / len(y)
    label, rival = pairs(world.k)
    machine = Machine(np.zeros((world.k, x.shape[1])), np.zeros(world.k))
    seen = Machine(np.full_like(machine.w, _FIRST), np.full_like(machine.b, _FIRST))
    distinct = min(chase.points, world.size)
    burn = round(chase.burn_in * distinct)
    z = near = None
    kept, labels = [], []
    for step in range(burn + distinct):
        gain = machine.w[rival] - machine.w[label]
        if step == 0:
            _, center = sanitize.centroids(x, y)
            gain = center[rival] - center[label]
        found = maximize(region, gain, z, near)
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
            value -= chase.rate * change / np.sqrt(total)
    numbers = np.arange(world.size) % len(kept)
    copies = np.bincount(numbers, minlength=len(kept))
    sparse = sp.issparse(world.clean.x)
    parts = [rounded(point, n, 2, world.integer, rng, sparse) for point, n in zip(kept, copies, strict=True)]
    whole: Any = sp.vstack(parts, format="csr") if sparse else np.concatenate(parts)
    return Rows(whole, np.repeat(labels, copies))


def least_error(world: World, poison: Rows, behind: Sequence[str], remove: float) -> float:
    """The target error behind the best of the defenses, or without any."""
    seen = stack(world.clean, poison)
    kept: list[Any] = []
    for name in behind:
        if name == "loss":
            scores = -rivals(outputs(world.train(seen), seen.x), seen.y)[0]
        else:
            scores = {"l2": sanitize.l2_scores, "slab": sanitize.slab_scores}[name](*seen)
        kept.append(sanitize.keep(scores, seen.y, remove))
    errors = []
    for rows in kept or [np.ones(len(seen.y), bool)]:
        machine = world.train(Rows(seen.x[rows], seen.y[rows]))
        errors.append(float(np.mean(rivals(outputs(machine, world.target.x), world.target.y)[0] <= 0)))
    return min(errors)
