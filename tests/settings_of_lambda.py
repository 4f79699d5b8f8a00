"""Two repetitions of a small attack with three settings of lambda, the last of them learned."""

from typing import Any

import numpy as np
from cases import digits

from poisoncli.attacks.rmd import RMD
from poisoncli.core.attack import Problem, Threat
from poisoncli.core.data import Data
from poisoncli.core.losses import cross_entropy
from poisoncli.core.victim import Objective
from poisoncli.training.trainers import SGD

ATTACK = RMD(outer_steps=4, inner_steps=6, outer_rate=np.float64(0.3), inner_rate=np.float64(0.1))

STARTS = np.array([[-np.inf], [2.0], [0.0]])

LEARN = np.array([False, False, True])


def problem(model: Any, log_lambda: np.ndarray, learn: np.ndarray) -> Problem:
    """Two repetitions, with `log_lambda` [settings, 1] in each."""
    train, target = (
        Data(*(np.stack(leaves) for leaves in zip(digits(rows, seed), digits(rows, seed + 1), strict=True)))
        for rows, seed in ((20, 1), (10, 5))
    )
    objective = Objective(model, cross_entropy, "l2", 20.0)
    threat = Threat((0, 2, 4, 5), np.float64(0), np.float64(1))
    return Problem(train, target, objective, SGD(), threat, np.tile(log_lambda, (2, 1)), learn, settings=len(learn))
