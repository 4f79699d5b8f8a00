"""What a hypergradient is of, and what it says."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax

from poisoncli.core.data import Array, Data, Params
from poisoncli.core.victim import Objective, Rows, Trainer


class Hypergradient(NamedTuple):
    """Target loss (scalar), its gradients for the free rows [k, m] and for log_lambda, and the parameters.

    residual: of the linear system in `cg` and `exact`, ||H v - a|| / ||a||; 0 where none is solved.
    y: the gradient for the targets of the free rows [k], where `reverse` was asked for it.
    """

    loss: Array
    x: Array
    log_lambda: Array
    params: Params
    residual: Array
    y: Array | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BilevelProblem:
    """What a hypergradient is of: the target loss of the victim that `trainer` makes of `params` on `rows`.

    log_lambda: [h]. free: how many rows are differentiated for, the last ones of the last block, at least 1.
    trusted: rows whose row loss log_lambda is differentiated for, in place of the target (HLP eq. 2).
    """

    objective: Objective
    trainer: Trainer
    params: Params
    log_lambda: Array
    rows: Rows
    target: Data
    free: int = dataclasses.field(metadata={"static": True})
    trusted: Data | None = None
