"""Theorem 1 of KSL: any attack on a two-class linear model can be collapsed to one point of each class."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from poisoncli.core.additive import SIGNS, Addition, Rows, stack
from poisoncli.core.linear import Linear, margins, slope
from poisoncli.core.types import PoisonError


class Collapsed(NamedTuple):
    """Two distinct points x [2, d] of class -1 and 1, with `copies` [2] rows each, as real numbers.

    theta: the parameters that the original rows attain. mismatch: norm of the difference of the gradients at theta
    over that of the original gradient; near 0 where the theorem holds. exact: whether its conditions were met;
    why: a sentence that says which was not.
    """

    x: np.ndarray
    copies: np.ndarray
    theta: Linear
    mismatch: float
    exact: bool
    why: str


def collapse(world: Addition, poison: Rows) -> Collapsed:
    """One point of each class that pulls the victim's parameters as all poison rows do (KSL Appendix A).

    The gradient of a row at the victim's optimum is -slope(margin) y (x, 1). The point of a class is the mean of
    its rows weighted by their slopes, which lies in every convex set that they lie in; its copies are chosen so
    that its gradient is the sum of theirs. For the hinge, rows beyond the margin pull nothing, rows within it pull
    wholly, and rows on it anything between. For the logistic loss the mean's own slope is at most their mean
    slope over their number, so that it needs no more copies than there were rows.
    Raises `PoisonError` if no poison row has any pull.
    """
    theta = world.train(stack(world.clean, poison))
    x = np.asarray(poison.x.toarray() if sp.issparse(poison.x) else poison.x, float)
    margin = margins(theta, x, poison.y)
    pull = slope(margin, world.loss)
    on_margin = np.abs(margin - 1) < 1e-3 if world.loss == "hinge" else np.zeros(len(margin), bool)
    points, copies = np.zeros((2, x.shape[1])), np.zeros(2)
    before, after = np.zeros(x.shape[1] + 1), np.zeros(x.shape[1] + 1)
    for i, sign in enumerate(SIGNS):
        rows = poison.y == sign
        total = pull[rows].sum()
        if total <= 0:
            continue
        points[i] = pull[rows] @ x[rows] / total
        own = 1.0
        if world.loss != "hinge":
            own = float(slope(sign * (points[i : i + 1] @ theta.w + theta.b), world.loss)[0])
        copies[i] = total / own
        before -= sign * np.append(pull[rows] @ x[rows], total)
        after -= sign * copies[i] * own * np.append(points[i], 1.0)
    if not copies.any():
        raise PoisonError("no poison row is within the margin, so the poison has no pull that could be collapsed")
    mismatch = float(np.linalg.norm(after - before) / max(np.linalg.norm(before), 1e-300))
    why = ""
    if on_margin.any():
        why = f"{on_margin.sum()} rows lie on the margin, where the pull of the hinge is not unique"
    elif copies.sum() > len(poison.y) * (1 + 1e-9):
        why = "the two points need more copies than there were rows"
    elif world.integer:
        why = "the two points are no whole numbers, and rounding moves the parameters"
    return Collapsed(points, copies, theta, mismatch, not why, why)
