"""The scores of the sanitization defenses against direct computation, on dense and sparse rows."""

import jax
import numpy as np
import pytest
import scipy.sparse as sp

from poisoncli.core.data import Data
from poisoncli.core.defense import Clues, Learner
from poisoncli.core.errors import FailedError, PoisonError
from poisoncli.core.losses import ROW_LOSS
from poisoncli.core.victim import Objective
from poisoncli.defenses import DEFENSES
from poisoncli.models.svm import SVM
from poisoncli.sanitization import filters
from poisoncli.training.trainers import SGD


@pytest.fixture(params=["dense", "sparse"])
def rows(request):
    rng = np.random.default_rng(0)
    x = rng.poisson(0.7, (60, 12)).astype(float)
    y = (np.arange(60) % 3 == 0).astype(float)
    return (x if request.param == "dense" else sp.csr_matrix(x)), y, x


def test_l2_is_the_distance_to_the_centroid(rows):
    x, y, dense = rows
    means = np.stack([dense[y == label].mean(0) for label in (0, 1)])
    expected = np.linalg.norm(dense - means[y.astype(int)], axis=1)
    np.testing.assert_allclose(filters.l2_scores(x, y), expected, atol=1e-12)


def test_slab_needs_two_classes():
    with pytest.raises(PoisonError, match="all rows are of one"):
        filters.slab_scores(np.ones((5, 2)), np.zeros(5))


def test_slab_projects_on_the_line_between_the_centroids(rows):
    x, y, dense = rows
    means = np.stack([dense[y == label].mean(0) for label in (0, 1)])
    expected = np.abs((dense - means[y.astype(int)]) @ (means[1] - means[0]))
    np.testing.assert_allclose(filters.slab_scores(x, y), expected, atol=1e-12)


def test_the_subspace_is_the_smallest_that_leaves_less_than_the_share(rows):
    x, _, dense = rows
    _, s, v = np.linalg.svd(dense)
    left = 1 - np.cumsum(s**2) / np.sum(s**2)
    k = np.flatnonzero(left < 0.05)[0] + 1
    basis = filters.right_singular(x, 0.05)
    assert basis.shape == (k, 12)
    expected = np.linalg.norm(dense - dense @ v[:k].T @ v[:k], axis=1)
    np.testing.assert_allclose(filters.residuals(x, basis), expected, atol=1e-6)


def test_centered_subspace_scores(rows):
    x, y, dense = rows
    basis = filters.right_singular(x, 0.3)
    means = np.stack([dense[y == label].mean(0) for label in (0, 1)])
    span = np.linalg.qr(np.concatenate([basis, means]).T)[0]
    moved = dense - means[y.astype(int)]
    expected = np.linalg.norm(moved - moved @ span @ span.T, axis=1)
    np.testing.assert_allclose(filters.subspace_scores(x, y, 0.3, True), expected, atol=1e-6)


def test_the_near_subspace_is_close_where_few_rows_are_new():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 6)) @ rng.normal(size=(6, 40)) + 0.05 * rng.normal(size=(300, 40))
    poisoned = np.concatenate([x, np.repeat(rng.normal(size=(1, 40)) * 3, 12, axis=0)])
    exact = filters.residuals(poisoned, filters.right_singular(poisoned, 0.05))
    basis = filters.right_singular(x, 0.02)
    near = filters.residuals(poisoned, filters.right_singular_near(poisoned, basis, 300, 0.05))
    assert np.corrcoef(exact, near)[0, 1] > 0.9


def test_neighbors(rows):
    x, _, dense = rows
    distances = np.linalg.norm(dense[:, None] - dense[None], axis=2)
    ordered = np.sort(distances, axis=1)  # the row itself comes first
    np.testing.assert_allclose(filters.neighbor_scores(x, 5), ordered[:, 5], atol=1e-6)
    np.testing.assert_allclose(filters.neighbor_scores(x, 5, total=True), ordered[:, :5].sum(1), atol=1e-6)


def test_keep_drops_the_highest_scores_of_each_class():
    y = np.array([0.0] * 20 + [1.0] * 40)
    scores = np.arange(60.0)
    assert set(np.flatnonzero(~filters.keep(scores, y, 0.05))) == {19, 58, 59}


def test_a_class_that_would_be_emptied_is_said():
    with pytest.raises(FailedError, match="class 1"):
        filters.keep(np.zeros(3), np.array([0.0, 0.0, 1.0]), 0.6)


def test_too_many_neighbors_are_said():
    with pytest.raises(FailedError, match="neighbors"):
        filters.neighbor_scores(np.zeros((3, 2)), 5)


def test_neighbors_of_added_rows_need_not_start_anew(rows):
    x, _, _ = rows
    near = filters.neighbors(x[:50], 5)
    np.testing.assert_allclose(filters.neighbor_scores_with(x, near), filters.neighbor_scores(x, 5), atol=1e-6)


def test_random_projection_finds_nearly_the_same_subspace(monkeypatch):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(400, 90)) * 0.97 ** np.arange(90)
    exact = filters.residuals(x, filters.right_singular(x, 0.2))
    monkeypatch.setattr(filters, "_LARGE", 10)
    monkeypatch.setattr(filters, "_FIRST", 9)
    near = filters.residuals(x, filters.right_singular(x, 0.2))
    assert np.sum(near**2) < 0.2 * np.sum(x**2)
    assert np.corrcoef(exact, near)[0, 1] > 0.95


@pytest.mark.parametrize("name", filters.SANITIZERS)
def test_rounds_fit_anew_on_what_is_left(name):
    rng = np.random.default_rng(0)
    y = np.array([0.0] * 90 + [1.0] * 60)
    x = rng.normal(size=(150, 4)) + 3 * y[:, None]
    x[:6] += 4
    data = Data(x, y, np.ones(150))
    objective = Objective(SVM(), ROW_LOSS["binary"], "l2", 150.0)
    learner = Learner(objective, SGD(), np.zeros(1), "binary", 0.1)
    once, thrice = (
        DEFENSES[name](remove=0.1, rounds=rounds).weigh(jax.random.key(0), data, learner, Clues(data, np.nan))
        for rounds in (1, 3)
    )
    for verdict in (once, thrice):
        assert [np.sum(verdict.weight[y == label] == 0) for label in (0, 1)] == [9, 6]
    first = DEFENSES[name](remove=0.1 / 3).weigh(jax.random.key(0), data, learner, Clues(data, np.nan))
    assert np.all(thrice.weight[first.weight == 0] == 0)
    kept = thrice.weight > 0
    assert not np.allclose(once.score[kept], thrice.score[kept])
