"""Trainings by chance: seeded, averaged over draws, with the victim's own bias."""

import numpy as np
import pytest
import scipy.sparse as sp

from poisoncli.core.data import Data
from poisoncli.models.svm import SVM
from poisoncli.runs import stages
from poisoncli.runs.description import Choice, Run
from poisoncli.training.linear import descend, fit
from poisoncli.training.optimum import solve_and_score


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


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_a_penalized_bias_is_penalized(kind):
    x, y = rows(n=3000)
    x = x - 3  # far from the origin, where the bias is large
    found = descend(kind(x), 2 * y - 1, 1.0, "hinge", 50, "penalized").b
    best = fit(x, 2 * y - 1, 1.0, "hinge", "penalized").b
    assert found == pytest.approx(best, abs=0.02)
    assert abs(descend(x, 2 * y - 1, 1.0, "hinge", 50, "free").b - best) > 0.1


def test_the_spread_is_kept_in_the_run_file(tmp_path):
    run = Run(dataset="breast-cancer", model=Choice("svm", {"passes": 1}), lambda_=0.01, attack="alfa")  # type: ignore[arg-type]
    path = stages.attack(run, tmp_path / "a.h5")
    spread = stages.evaluate(path).evaluations["none"].draw_spread
    assert spread.shape == (1, 2)
    from poisoncli.runs import run_file

    np.testing.assert_array_equal(run_file.read(path).evaluations["none"].draw_spread, spread)
