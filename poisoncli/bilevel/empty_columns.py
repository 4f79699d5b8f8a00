"""Columns that are zero in all rows an attack looks at: settings solved together leave them out.

Where a linear first layer starts at zero, its weights in such a column stay zero (no row has a part in their
gradient, and a penalty leaves zeros alone), and so do the target loss' derivatives for them: points that start at
zero there stay there. Each setting's own rows are then shorter; a setting alone keeps them, and with them the bits
of its sums.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.core.attack import Poison, Problem
from poisoncli.core.victim import is_linear_first


def moving_columns(problem: Problem) -> np.ndarray | None:
    """The columns that are not empty; None where all have to stay, or nearly all would."""
    rows = [data.x for data in (problem.train, problem.target, problem.trusted) if data is not None]
    threat, m = problem.threat, problem.train.x.shape[-1]
    if not is_linear_first(problem.objective.model) or threat.domain is not None:
        return None
    start = problem.objective.init(jax.random.key(0), m)
    if jnp.any(start[0]["w"] != 0) or np.any(np.asarray(threat.low) > 0) or np.any(np.asarray(threat.high) < 0):
        return None
    used = np.zeros(m, bool)
    for x in rows:
        used |= np.any(np.asarray(x) != 0, axis=tuple(range(x.ndim - 1)))
    return np.flatnonzero(used) if 0 < used.sum() <= 0.9 * m else None


def narrowed(problem: Problem, columns: np.ndarray) -> Problem:
    """`problem` with these columns alone."""
    train, target = (data._replace(x=np.asarray(data.x)[..., columns]) for data in (problem.train, problem.target))
    trusted = problem.trusted
    if trusted is not None:
        trusted = trusted._replace(x=np.asarray(trusted.x)[..., columns])
    low, high = (
        end if np.ndim(end) == 0 else np.asarray(end)[..., columns]
        for end in (problem.threat.low, problem.threat.high)
    )
    threat = problem.threat._replace(low=low, high=high)
    return problem._replace(train=train, target=target, trusted=trusted, threat=threat)


def narrowed_poison(poison: Poison, columns: np.ndarray) -> Poison:
    """`poison` with these columns alone."""
    return poison._replace(x=np.asarray(poison.x)[..., columns])


def widened(poison: Poison, columns: np.ndarray, m: int) -> Poison:
    """The inverse of `narrowed_poison`, with zeros in the other columns of m."""
    x = np.zeros((*poison.x.shape[:-1], m), poison.x.dtype)
    x[..., columns] = poison.x
    return poison._replace(x=x)
