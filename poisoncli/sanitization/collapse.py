"""Theorem 1 of KSL: any attack on a two-class linear model can be collapsed to one point of each class."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from poisoncli.core.errors import PoisonError
from poisoncli.sanitization.additive import SIGNS, LinearProblem, Rows, stack
from poisoncli.training.linear import fit, margins, slope
from poisoncli.training.multiclass import MulticlassLinear, outputs, rivals

_NEAR = 1e-3  # of the margin, to lie on it


class Collapsed(NamedTuple):
    """Few distinct points that stand for many: x [p, d] with labels y [p] and `copies` [p] rows each, real numbers.

    mismatch: norm of the difference of the gradients at the parameters that the original rows attain, over that of
    the original gradient; near 0 where the theorem holds. exact: whether its conditions were met; why: a sentence
    that says which was not.
    """

    x: np.ndarray
    y: np.ndarray
    copies: np.ndarray
    mismatch: float
    exact: bool
    why: str


def collapse(problem: LinearProblem, poison: Rows) -> Collapsed:
    """One point of each class that pulls the victim's parameters as all poison rows do (KSL Appendix A).

    The gradient of a row at the victim's optimum is -slope(margin) y (x, 1). The point of a class is the mean of
    its rows weighted by their slopes, which lies in every convex set that they lie in; its copies are chosen so
    that its gradient is the sum of theirs. For the hinge, rows beyond the margin pull nothing, rows within it pull
    wholly, and rows on it anything between. For the logistic loss the mean's own slope is at most their mean
    slope over their number, so that it needs no more copies than there were rows.
    Raises `PoisonError` if no poison row has any pull.
    """
    theta = fit(*stack(problem.clean, poison), problem.lambda_, problem.loss, problem.bias)
    margin = margins(theta, *poison)
    pull = slope(margin, problem.loss)
    points, labels, copies = [], [], []
    before, after = np.zeros((2, poison.x.shape[1] + 1))
    for sign in SIGNS:
        total, point = _mean(poison, pull * (poison.y == sign))
        if total <= 0:
            continue
        own = 1.0
        if problem.loss != "hinge":
            own = float(slope(sign * (point[None] @ theta.w + theta.b), problem.loss)[0])
        points.append(point)
        labels.append(sign)
        copies.append(total / own)
        before -= sign * total * np.append(point, 1.0)
        after -= sign * copies[-1] * own * np.append(point, 1.0)
    why = ""
    if problem.loss == "hinge" and (on := int(np.sum(np.abs(margin - 1) < _NEAR))):
        why = f"{on} rows lie on the margin, where the pull of the hinge is not unique"
    return _judged(points, labels, copies, len(poison.y), before, after, problem.integer, why)


def collapse_multiclass(machine: MulticlassLinear, poison: Rows, integer: bool) -> Collapsed:
    """At most k - 1 points of each of k classes that pull a multi-class hinge like all rows (KSL Proposition 10).

    machine: the parameters that the rows attain, and labels are 0 ... k - 1: the point of a label and its highest
    rival is the mean of the rows with both whose margin is at most 1.
    """
    k = len(machine.b)
    margin, rival = rivals(outputs(machine, poison.x), poison.y)
    before, after = np.zeros((2, k, poison.x.shape[1] + 1))
    points, labels, copies = [], [], []
    for label in range(k):
        for other in range(k):
            rows = (margin <= 1) & (poison.y == label) & (rival == other)
            total, point = _mean(poison, rows.astype(float))
            if total <= 0:
                continue
            points.append(point)
            labels.append(label)
            copies.append(total)
            mine, theirs = rivals(outputs(machine, point[None]), np.array([label]))
            for part, against, active in ((before, other, True), (after, int(theirs[0]), mine[0] <= 1)):
                part[label] -= active * total * np.append(point, 1.0)
                part[against] += active * total * np.append(point, 1.0)
    on = int(np.sum(np.abs(margin - 1) < _NEAR))
    why = f"{on} rows lie on the margin, where the pull of the hinge is not unique" if on else ""
    return _judged(points, labels, copies, len(poison.y), before, after, integer, why)


def _mean(poison: Rows, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """The sum of the weights [n], and the mean row [d] by them."""
    total = float(weights.sum())
    return total, np.asarray(poison.x.T @ weights, float).ravel() / max(total, 1e-300)


def _judged(
    points: list[np.ndarray],
    labels: list[float],
    copies: list[float],
    rows: int,
    before: np.ndarray,
    after: np.ndarray,
    integer: bool,
    why: str,
) -> Collapsed:
    if not points:
        raise PoisonError("no poison row is within the margin, so the poison has no pull that could be collapsed")
    mismatch = float(np.linalg.norm(after - before) / max(np.linalg.norm(before), 1e-300))
    if not why and sum(copies) > rows * (1 + 1e-9):
        why = "the points need more copies than there were rows"
    elif not why and integer:
        why = "the points are no whole numbers, and rounding moves the parameters"
    return Collapsed(np.stack(points), np.array(labels), np.array(copies), mismatch, not why, why)
