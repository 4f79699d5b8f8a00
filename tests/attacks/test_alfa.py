"""alfa: which flips it takes (Xiao et al. 2012), and that they are feasible."""

import numpy as np
import pytest
from linear_rows import linear_problem

from poisoncli.attacks.alfa import Alfa, feasible_flips
from poisoncli.core.errors import FailedError
from poisoncli.sanitization.additive import SIGNS, evading_set, stack
from poisoncli.sanitization.feasible_set import violation
from poisoncli.training.linear import margins, row_loss


def crafted(rounds=10):
    problem = linear_problem(count=12)
    feasible = evading_set(problem, ("l2",), 1.0)
    return problem, feasible, Alfa(rounds=rounds)._candidate(problem, feasible, None, 0, np.random.default_rng(0))


def test_its_rows_are_feasible_flips_of_target_rows():
    problem, feasible, poison = crafted()
    assert len(poison.y) == 12
    for x, y in zip(*poison, strict=True):
        (row,) = np.flatnonzero((problem.target.x == x).all(axis=1))
        assert problem.target.y[row] == -y
    numbers = (poison.y > 0).astype(int)
    assert np.all(violation(feasible.pick(numbers), poison.x) <= 1e-9)


def test_its_flips_are_those_whose_loss_the_poisoned_victim_lowers_most():
    problem, feasible, poison = crafted(rounds=30)
    pool = feasible_flips(problem, feasible)
    clean, poisoned = (
        row_loss(margins(problem.train(rows), *pool)) for rows in (problem.clean, stack(problem.clean, poison))
    )
    gain = clean - poisoned
    chosen = (pool.x[:, None] == poison.x[None]).all(axis=2).any(axis=1)
    assert chosen.sum() == 12
    assert gain[chosen].min() >= np.sort(gain)[-12] - 0.05
    assert gain[chosen].mean() > 2 * gain[~chosen].mean()


def test_where_no_flip_is_feasible_it_says_so():
    problem = linear_problem()
    feasible = evading_set(problem, ("l2",), 0.9)._replace(radius=np.full(len(SIGNS), 1e-6))
    with pytest.raises(FailedError, match="no flipped target row is feasible"):
        feasible_flips(problem, feasible)
