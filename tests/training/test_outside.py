"""Victims from outside: trained and measured, and what is said of bad ones."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import log_loss, roc_auc_score

from poisoncli.training import outside
from poisoncli.training.outside import Lesson
from poisoncli.training.own_models import Victim

FOREST = "sklearn.ensemble:RandomForestClassifier"


@pytest.fixture
def lesson():
    import pandas as pd

    x = np.random.default_rng(0).normal(size=(120, 2))
    y = (x[:, 0] + 0.3 * x[:, 1] > 0).astype(float)
    frame = pd.DataFrame(x, columns=["a", "b"])
    return Lesson(frame[:80], y[:80], np.ones(80), frame[80:], y[80:], ("ham", "spam"))


def test_measures_are_those_of_training_by_hand(lesson):
    found = outside.train(Victim(FOREST), 3, lesson)
    assert not found.problem
    forest = RandomForestClassifier(random_state=3).fit(lesson.x, np.array(["ham", "spam"])[lesson.y.astype(int)])
    chance = forest.predict_proba(lesson.test_x)
    assert found.measures["error"] == np.mean((forest.predict(lesson.test_x) == "spam") != lesson.test_y)
    assert found.measures["auc"] == pytest.approx(roc_auc_score(lesson.test_y, chance[:, 1]))
    assert found.measures["log_loss"] == pytest.approx(log_loss(lesson.test_y, chance))


def test_scores_follow_the_users_order_of_classes(lesson):
    """scikit-learn sorts labels; here spam, the first in the alphabet's reverse, is class 0."""
    turned = lesson._replace(y=1 - lesson.y, test_y=1 - lesson.test_y, labels=("spam", "ham"))
    for victim in (Victim("sklearn.linear_model:LogisticRegression"), Victim("sklearn.svm:LinearSVC")):
        one, other = (outside.train(victim, 0, rows).measures for rows in (lesson, turned))
        assert one["auc"] == pytest.approx(other["auc"])
        assert one["recall"] == pytest.approx(other["recall"][::-1])
        assert one["auc"] > 0.9


def test_weights_reach_fit_or_it_is_said(lesson, mine):
    weight = np.where(lesson.y == 1, 1.0, 1e-6)
    for source in ("sklearn.linear_model:LogisticRegression", mine("pipeline")):
        found = outside.train(Victim(source), 0, lesson._replace(weight=weight))
        assert found.measures["recall"][0] < 0.2
        assert not found.remarks
    near = outside.train(Victim("sklearn.neighbors:KNeighborsClassifier"), 0, lesson._replace(weight=weight))
    assert near.remarks == ("its fit takes no sample_weight: rows that a defense gives less weight count in full",)


def test_a_model_that_wants_class_numbers_gets_them(lesson, mine, capsys):
    found = outside.train(Victim(mine("Plain")), 0, lesson)
    assert found.remarks == ("it refuses the labels, and was given the numbers 0 to 1",)
    assert found.measures["error"] == np.mean((lesson.test_x["a"] > 0) != lesson.test_y)
    assert np.isnan(found.measures["auc"])
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "fits" in streams.err


@pytest.mark.parametrize(
    ("kind", "says"),
    [("shape", r"shape \(3,\) for 40 rows"), ("nan", "not finite"), ("label", "'egg', which is none")],
)
def test_predictions_that_are_none_fail(lesson, mine, kind, says):
    found = outside.train(Victim(mine("Odd"), {"kind": kind}), 0, lesson)
    assert not found.measures
    assert re.search(says, found.problem)


def test_real_targets_are_measured_in_their_units(lesson):
    y = 100 + 10 * lesson.y
    real = lesson._replace(y=y, test_y=100 + 10 * lesson.test_y, labels=(), shift=105.0, scale=5.0)
    found = outside.train(
        Victim("sklearn.dummy:DummyRegressor", {"strategy": "constant", "constant": 105.0}), 0, real
    )
    assert found.measures["mae"] == 5
    assert found.measures["nmse"] == pytest.approx(1)


def test_the_worker_imports_no_jax():
    code = "import sys, poisoncli.training.outside; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(outside.__file__).parents[2])


def test_warnings_of_a_training_are_told_once(lesson):
    found = outside.train(Victim("sklearn.linear_model:LogisticRegression", {"max_iter": 1}), 0, lesson)
    assert len(found.remarks) == 1
    assert found.remarks[0].startswith("ConvergenceWarning: ")
