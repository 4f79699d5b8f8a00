"""Measures are those of scikit-learn, and no number where they are not defined."""

import numpy as np
import pytest
from sklearn import metrics as known

from poisoncli.core.errors import PoisonError
from poisoncli.training import metrics


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_of_two_classes_from_logits(rng):
    y, logits = rng.random(200) < 0.2, rng.normal(size=200)
    probability = 1 / (1 + np.exp(-logits))
    found = metrics.of_outputs(y, logits, 2, True)
    assert found["error"] == pytest.approx(1 - known.accuracy_score(y, logits > 0))
    assert found["balanced_error"] == pytest.approx(1 - known.balanced_accuracy_score(y, logits > 0))
    assert found["recall"] == pytest.approx(known.recall_score(y, logits > 0, average=None))
    assert found["auc"] == pytest.approx(known.roc_auc_score(y, logits))
    assert found["log_loss"] == pytest.approx(known.log_loss(y, probability))


def test_of_three_classes_from_logits(rng):
    y, logits = rng.integers(0, 3, 150), rng.normal(size=(150, 3))
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = metrics.of_outputs(y, logits, 3, True)
    assert found["balanced_error"] == pytest.approx(1 - known.balanced_accuracy_score(y, logits.argmax(1)))
    assert found["auc"] == pytest.approx(known.roc_auc_score(y, probability, multi_class="ovr"))
    assert found["log_loss"] == pytest.approx(known.log_loss(y, probability))


def test_two_outputs_of_two_classes_are_compared(rng):
    y, outputs = rng.random(80) < 0.4, rng.normal(size=(80, 2))
    found = metrics.of_outputs(y, outputs, 2, False)
    assert found["auc"] == pytest.approx(known.roc_auc_score(y, outputs[:, 1] - outputs[:, 0]))
    assert np.isnan(found["log_loss"])


def test_a_class_that_has_no_test_rows_leaves_the_others():
    found = metrics.of_classes(np.array([0, 0, 2]), np.array([0, 1, 2]), 3, np.eye(3), np.eye(3))
    np.testing.assert_array_equal(found["recall"], [0.5, np.nan, 1])
    assert found["balanced_error"] == 0.25
    assert found["auc"] == pytest.approx((known.roc_auc_score([1, 1, 0], np.eye(3)[:, 0]) + 1) / 2)
    alone = metrics.of_classes(np.zeros(4), np.zeros(4), 2, np.arange(4.0))
    assert alone["error"] == 0
    assert np.isnan(alone["auc"])


def test_outputs_that_are_no_numbers_give_none():
    found = metrics.of_outputs(np.array([0, 1]), np.array([np.nan, 1]), 2, True)
    assert all(np.isnan(values).all() for values in found.values())
    assert found["recall"].shape == (2,)
    assert all(np.isnan(one) for one in metrics.of_reals(np.ones(2), np.array([1, np.inf]), 0, 1).values())


def test_of_real_targets_in_their_own_units(rng):
    y, predicted = 50 + 10 * rng.normal(size=90), 50 + 10 * rng.normal(size=90)
    found = metrics.of_reals(y, predicted, 48.0, 9.0)
    assert found["mae"] == pytest.approx(known.mean_absolute_error(y, predicted))
    assert found["r2"] == pytest.approx(known.r2_score(y, predicted))
    assert found["nmse"] == pytest.approx(np.mean((y - predicted) ** 2) / np.mean((y - 48) ** 2))


@pytest.mark.parametrize(
    ("asked", "real", "label"),
    [("", False, "test error"), ("", True, "test NMSE"), ("log-loss", False, "log loss"), ("r2", True, "R²"),
     ("recall", False, "least recall"), ("recall:spam", False, "recall of spam")],
)  # fmt: skip
def test_a_measure_is_known_by_its_name(asked, real, label):
    found = metrics.measure(asked, real)
    assert found.label == label
    assert metrics.is_high(label) == found.metric.high
    assert metrics.is_share(label) == found.metric.share


@pytest.mark.parametrize(("asked", "real"), [("auc", True), ("r2", False), ("auc:1", False), ("recall:", False)])
def test_what_is_no_measure_of_these_targets_is_refused(asked, real):
    with pytest.raises(PoisonError, match=f"--metric {asked} is no measure of"):
        metrics.measure(asked, real)
