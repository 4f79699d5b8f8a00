"""The exchange of whole numbers and categories on rounded poison rows."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from poisoncli.bilevel import exchange as subject
from poisoncli.core import domain
from poisoncli.core.attack import Poison, Problem, Threat, Units
from poisoncli.core.data import Data
from poisoncli.core.domain import Domain
from poisoncli.core.losses import cross_entropy
from poisoncli.core.victim import Objective
from poisoncli.models.logistic import Logistic
from poisoncli.training.descent import fit
from poisoncli.training.layout import lay_out
from poisoncli.training.trainers import SGD

SHIFT, SCALE = np.array([3.0, 0, 0, 0]), np.array([2.0, 1, 1, 1])
KEY = jax.random.key(3)


def setting(points: int, seed: int = 0, **limits: Any):
    """A table with a whole number (0 to 6) and a category (one of three), its problem, and rounded poison."""
    rng = np.random.default_rng(seed)
    asked = Domain(
        low=np.zeros(4),
        high=np.array([6.0, 1, 1, 1]),
        whole=np.array([True, False, False, False]),
        group=np.array([-1, 0, 0, 0]),
        column=np.array([0, 1, 1, 1]),
        names=("number", "kind"),
        move=np.zeros(4, int),
    )._replace(**limits)
    x = np.concatenate([rng.integers(0, 7, (60, 1)), np.eye(3)[rng.integers(0, 3, 60)]], axis=1)
    y = (x[:, 0] + 2 * x[:, 1] + rng.normal(size=60) > 4).astype(np.float32)[None]
    scaled = ((x - SHIFT) / SCALE)[None].astype(np.float32)
    train, target = (
        Data(scaled[:, part], y[:, part], np.ones_like(y[:, part])) for part in np.split(np.arange(60), 2)
    )
    objective = Objective(Logistic(), cross_entropy, "none", 30.0)
    problem = Problem(
        train, target, objective, SGD(0.3, 60), Threat((0, points), 0, 1, domain=asked),
        np.full((1, 1), -np.inf, np.float32), np.array([False]), units=Units(SHIFT, SCALE),
    )  # fmt: skip
    replaced = np.arange(points)[None]
    poison = Poison(
        train.x[:, :points].copy(), 1 - train.y[:, :points], replaced, np.array([0, points]),
        np.full((1, 2, 1), -np.inf, np.float32), np.zeros((1, 2, 1), np.float32), 1, 1,
    )  # fmt: skip
    return asked, problem, poison, x[None, :points]


def loss(problem: Problem, poison: Poison) -> float:
    """Of the target rows, after training on all rows with the poison in its place."""
    train = Data(*(np.array(leaf[0]) for leaf in problem.train))
    train.x[poison.replaced[0]], train.y[poison.replaced[0]] = poison.x[0], poison.y[0]
    start = problem.objective.model.init(KEY, 4)
    params = fit(problem.objective, problem.trainer, start, jnp.array([-jnp.inf]), lay_out(train))
    return float(problem.objective.clean_loss(params, Data(*(jnp.asarray(leaf[0]) for leaf in problem.target))))


def own(x: np.ndarray) -> np.ndarray:
    return np.asarray(x, float) * SCALE + SHIFT


@pytest.mark.long
def test_one_row_ends_where_no_exchange_raises_the_loss():
    asked, problem, poison, origin = setting(1)
    found = subject.exchange(KEY, problem, asked, poison, origin)
    every = {}
    for number, kind in itertools.product(range(7), range(3)):
        row = np.array([number, *np.eye(3)[kind]])
        every[number, kind] = loss(
            problem, poison._replace(x=((row - SHIFT) / SCALE).astype(np.float32)[None, None])
        )
    assert loss(problem, found) > loss(problem, poison)
    np.testing.assert_allclose(loss(problem, found), max(every.values()), rtol=1e-5)


def test_the_target_loss_rises_and_all_rows_stay_possible():
    asked, problem, poison, origin = setting(8)
    found = subject.exchange(KEY, problem, asked, poison, origin)
    assert loss(problem, found) > loss(problem, poison) * 1.01
    assert not domain.impossible(asked, own(found.x[0])).any()


def test_limits_relative_to_the_row_it_started_as_are_kept():
    asked, problem, poison, origin = setting(8, move=np.array([1, 0, 0, 0]), columns_changed=1)
    found = subject.exchange(KEY, problem, asked, poison, origin)
    assert not np.array_equal(found.x, poison.x)
    assert not domain.impossible(asked, own(found.x[0]), origin[0]).any()
    asked, problem, poison, origin = setting(8, move=np.full(4, 2))
    assert np.array_equal(subject.exchange(KEY, problem, asked, poison, origin).x, poison.x)
