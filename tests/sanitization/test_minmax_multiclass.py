"""The min-max attack on several classes: where its points lie, and by what they are judged."""

import numpy as np
import pytest
from linear_rows import several

from poisoncli.models.multisvm import MultiSVM
from poisoncli.sanitization.additive import Rows
from poisoncli.sanitization.feasible_set import FeasibleSet
from poisoncli.sanitization.minmax_multiclass import (
    MinMaxSettings,
    burn_in_of,
    decoy_of,
    minmax_points,
    pairs,
)
from poisoncli.sanitization.multiclass_search import MulticlassProblem
from poisoncli.training.multiclass import outputs, rivals


def test_the_burn_in_follows_the_share_of_poison():
    assert burn_in_of(0.0, 0.03) == pytest.approx(0.10 / 0.03 - 1)
    assert burn_in_of(0.0, 0.10) == 1.0
    assert burn_in_of(0.5, 0.03) == 0.5


@pytest.fixture(scope="module")
def problem():
    clean, target = several(), several(seed=1)
    return MulticlassProblem(Rows(*clean), Rows(*target), 12, 3, MultiSVM(passes=0), 0.05, -np.inf, np.inf, False)


def balls(problem, radius):
    """For each pair of a label and its rival the ball round the centroid of the label."""
    label, _ = pairs(problem.k)
    x, y = problem.clean
    center = np.stack([x[y == c].mean(axis=0) for c in label])
    none = np.zeros((len(label), 0))
    low, high = np.full(5, -np.inf), np.full(5, np.inf)
    return FeasibleSet(low, high, center, np.full(len(label), radius), none[:, :, None] * center[0], none, False)


def test_points_lie_in_the_balls_and_the_learner_follows_them(problem):
    settings = MinMaxSettings(0.0, 0.03, 1.0, 4, 200, ())
    found, again = (
        minmax_points(problem, balls(problem, 1.5), settings, np.random.default_rng(0)) for _ in range(2)
    )
    np.testing.assert_array_equal(found.x, again.x)
    assert found.x.shape == (12, 5)
    assert len(np.unique(found.x, axis=0)) <= 4  # each stands for three rows
    for x, y in zip(*found, strict=True):
        own = problem.clean.x[problem.clean.y == y].mean(axis=0)
        assert np.linalg.norm(x - own) <= 1.5 + 1e-6
    seen = Rows(np.concatenate([problem.clean.x, found.x]), np.concatenate([problem.clean.y, found.y]))
    clean_loss = np.maximum(0, 1 - rivals(outputs(problem.train(problem.clean), found.x), found.y)[0]).mean()
    assert clean_loss > 1  # all are on the wrong side of the clean machine
    assert np.maximum(0, 1 - rivals(outputs(problem.train(seen), found.x), found.y)[0]).mean() < clean_loss


def test_a_decoy_errs_on_the_target_rows_that_it_was_given(problem):
    margin, rival = rivals(outputs(problem.train(problem.clean), problem.target.x), problem.target.y)
    decoy = decoy_of(problem, 5, 0.1)
    worst = margin <= np.quantile(margin, 0.1)
    said = outputs(decoy, problem.target.x).argmax(axis=1)
    assert np.mean(said[worst] == rival[worst]) > 0.9
