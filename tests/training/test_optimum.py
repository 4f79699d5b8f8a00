"""Victims at their optimum: scores, means over draws, and what they refuse."""

import jax
import numpy as np
import pytest

from poisoncli.core.data import Data
from poisoncli.core.defense import Learner
from poisoncli.core.errors import PoisonError
from poisoncli.core.losses import cross_entropy
from poisoncli.core.victim import Objective
from poisoncli.models.svm import SVM
from poisoncli.runs import run_file, stages
from poisoncli.runs.description import Choice, Run
from poisoncli.training.optimum import margins, solve_and_score, training_scores
from poisoncli.training.trainers import SGD


def rows(seed=0, n=300):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.3).astype(float)
    return rng.normal(size=(n, 5)) + 0.5 * (2 * y - 1)[:, None], y


def score(model, seed):
    train, test = (Data(x[None], y[None], np.ones((1, len(y)))) for x, y in (rows(0), rows(1)))
    return solve_and_score(model, train, [0.01], test, test, seed)


def test_errors_are_means_over_draws_that_follow_the_seed():
    model = SVM(passes=1, draws=6)
    first, again, other = score(model, 0), score(model, 0), score(model, 1)
    assert first.test_error == again.test_error
    assert first.test_loss != other.test_loss
    assert first.draw_spread[0] > 0
    x, y = rows(0)
    test_x, test_y = rows(1)
    outputs = [test_x @ p[0]["w"][0] + p[0]["b"][0] for p in model.draws_of(x, y, 0.01, 0)]
    errors = [np.mean((2 * test_y - 1) * f <= 0) for f in outputs]
    assert len(errors) == 6
    assert first.test_error[0] == pytest.approx(np.mean(errors))
    assert first.draw_spread[0] == pytest.approx(np.std(errors, ddof=1))


def test_an_optimum_has_no_spread():
    assert not score(SVM(), 0).draw_spread.size


def test_the_spread_is_kept_in_the_run_file(tmp_path):
    run = Run(dataset="breast-cancer", model=Choice("svm", {"passes": 1}), lambda_=0.01, attack="alfa")  # type: ignore[arg-type]
    path = stages.attack(run, tmp_path / "a.h5")
    spread = stages.evaluate(path).evaluations["none"].draw_spread
    assert spread.shape == (1, 2)
    np.testing.assert_array_equal(run_file.read(path).evaluations["none"].draw_spread, spread)


def test_rows_of_weight_zero_are_not_there():
    x, y = rows()
    weight = np.ones((1, 300))
    weight[0, ::3] = 0
    test = Data(x[None], y[None], np.ones((1, 300)))
    found = solve_and_score(SVM(), Data(x[None], y[None], weight), [0.01], test, test)
    kept = weight[0] > 0
    alone = SVM().optimum(x[kept], y[kept], 0.01)[0]
    np.testing.assert_array_equal(found.params[0]["w"][0], alone["w"])
    with pytest.raises(PoisonError, match="defense that removes rows"):
        solve_and_score(SVM(), Data(x[None], y[None], weight + 0.5), [0.01], test, test)


def test_without_validation_rows_there_is_no_score():
    x, y = rows()
    test = Data(x[None], y[None], np.ones((1, 300)))
    found = solve_and_score(SVM(), test, [0.01], Data(x[None, :0], y[None, :0], y[None, :0]), test)
    assert np.isnan(found.val_error[0])
    assert np.isnan(found.val_loss[0])
    assert found.test_error[0] == np.mean(margins([{k: v[0] for k, v in found.params[0].items()}], x, y) <= 0)


def test_rows_that_fit_badly_score_high():
    x, y = rows()
    learner = Learner(Objective(SVM(), cross_entropy, "l2", 300.0), SGD(), np.zeros(1), "binary", 0.01)
    scores = training_scores(jax.random.key(0), Data(x, y, np.ones(300)), learner)
    theta = SVM().optimum(x, y, 0.01)[0]
    np.testing.assert_allclose(scores, (1 - 2 * y) * (x @ theta["w"][0] + theta["b"][0]))
    far = np.argmax(x @ theta["w"][0] + theta["b"][0])
    flipped = y.copy()
    flipped[far] = 0
    assert np.argmax(training_scores(jax.random.key(0), Data(x, flipped, np.ones(300)), learner)) == far
