"""Rows for tests of the defenses: a line, or a plane, with rows that do not belong to it."""

from typing import NamedTuple

import numpy as np

from poisoncli.core.data import Data
from poisoncli.core.defense import Clues, Learner
from poisoncli.core.losses import ROW_LOSS
from poisoncli.core.victim import Objective
from poisoncli.models import MODELS
from poisoncli.training.trainers import SGD

NOBODY = Clues(Data(np.zeros((0, 1), np.float32), np.zeros(0, np.float32), np.zeros(0, np.float32)), np.nan)


class Case(NamedTuple):
    data: Data
    bad: np.ndarray
    w: np.ndarray


def plane(seed: int = 0, n: int = 120, m: int = 2, bad: int = 24, far: float = 8.0) -> Case:
    """y = x w + noise for most rows; the last `bad` rows lie `far` above the plane."""
    rng = np.random.default_rng(seed)
    x, w = rng.uniform(-1, 1, (n, m)), rng.uniform(-2, 2, m)
    y = x @ w + 0.1 * rng.standard_normal(n)
    y[n - bad :] += far
    ones = np.ones(n, np.float32)
    return Case(Data(x.astype(np.float32), y.astype(np.float32), ones), np.arange(n) >= n - bad, w)


def learner(task: str = "real", model: str = "linear") -> Learner:
    objective = Objective(MODELS[model](), ROW_LOSS[task], "none", 120.0)
    return Learner(objective, SGD(0.2, 100), np.full(1, -np.inf, np.float32), task)


def trusted(case: Case) -> Clues:
    """Twenty clean rows of the plane, and the true share of the others."""
    rng = np.random.default_rng(9)
    x = rng.uniform(-1, 1, (20, case.data.x.shape[1])).astype(np.float32)
    return Clues(Data(x, (x @ case.w).astype(np.float32), np.ones(20, np.float32)), 0.2)


def weighted_line(data: Data, weight: np.ndarray) -> np.ndarray:
    """Slopes and intercept of weighted least squares."""
    x = np.concatenate([data.x, np.ones((len(data.y), 1))], axis=1) * np.sqrt(weight)[:, None]
    return np.linalg.lstsq(x, data.y * np.sqrt(weight), rcond=None)[0]
