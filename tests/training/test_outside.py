"""Models of the user's own: found by name, built with options, trained and measured; what is said of bad ones."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from poisoncli.core.errors import PoisonError
from poisoncli.training import outside
from poisoncli.training.outside import Lesson, Victim

FOREST = "sklearn.ensemble:RandomForestClassifier"
MINE = '''
import beside
import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

print("imported")
pipeline = make_pipeline(StandardScaler(), LogisticRegression())

def factory(C=1.0, kind="l2"):
    return make_pipeline(StandardScaler(), LogisticRegression(C=C))

class Plain:
    """Nothing but fit and predict; takes class numbers alone, as XGBoost does."""
    def fit(self, X, y):
        if set(np.unique(y)) != {0, 1}:
            raise ValueError(f"Expected [0 1], got {np.unique(y)}")
        print("fits")
        self.value = np.random.rand()
        return self
    def predict(self, X):
        return (X["a"] > 0).astype(int).to_numpy()[:, None]

class Mute:
    def fit(self, X, y):
        return self

class Odd(Plain):
    def __init__(self, kind="shape"):
        self.kind = kind
    def fit(self, X, y):
        return self
    def predict(self, X):
        return {"shape": np.zeros(3), "nan": np.full(len(X), np.nan), "label": np.full(len(X), "egg")}[self.kind]

number = 7
'''


@pytest.fixture
def mine(tmp_path):
    """A user's file, which imports another beside it."""
    (tmp_path / "beside.py").write_text("here = 1\n")
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    yield lambda name: f"{path}:{name}"
    sys.path[:] = [place for place in sys.path if place != str(tmp_path)]
    for name in [
        name for name, module in sys.modules.items() if str(tmp_path) in str(getattr(module, "__file__", ""))
    ]:
        del sys.modules[name]


@pytest.fixture
def lesson():
    import pandas as pd

    x = np.random.default_rng(0).normal(size=(120, 2))
    y = (x[:, 0] + 0.3 * x[:, 1] > 0).astype(float)
    frame = pd.DataFrame(x, columns=["a", "b"])
    return Lesson(frame[:80], y[:80], np.ones(80), frame[80:], y[80:], ("ham", "spam"))


def test_classes_factories_and_instances_are_built_anew(mine):
    forest = outside.build(Victim(FOREST, {"n_estimators": 7}), seed=5)
    assert isinstance(forest, RandomForestClassifier)
    assert (forest.n_estimators, forest.random_state) == (7, 5)
    assert outside.build(Victim(FOREST, {"random_state": 3}), seed=5).random_state == 3
    made = outside.build(Victim(mine("factory"), {"C": 0.5, "logisticregression__tol": 0.1}), seed=2)
    assert made[-1].get_params() | {"C": 0.5, "tol": 0.1, "random_state": 2} == made[-1].get_params()
    one, other = (outside.build(Victim(mine("pipeline"), {"logisticregression__C": c})) for c in (2, 3))
    assert (one[-1].C, other[-1].C) == (2, 3)


def test_options_are_known(mine):
    assert {"C", "kind", "logisticregression__C"} <= set(outside.options_of(Victim(mine("factory"))))
    assert "n_estimators" in outside.options_of(Victim(FOREST))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("forest", "names no model: write module:name or file.py:name"),
        ("nowhere.at_all:Model", "there is no module nowhere: install it"),
        ("absent.py:Model", "there is no file absent.py"),
        ("sklearn.ensemble:RandomForestClasifier", "did you mean RandomForestClassifier"),
        ("MINE:Mute", "has no predict: a victim has fit"),
        ("MINE:number", "has no fit and no predict"),
        ("sklearn.pipeline:Pipeline", "cannot be made"),
        ("sklearn.metrics:accuracy_score", "cannot be made"),
    ],
)
def test_what_is_no_model_is_refused(mine, source, says):
    source = source.replace("MINE", mine("")[:-1])
    with pytest.raises(PoisonError, match=says) as error:
        outside.build(Victim(source))
    assert "\n" not in str(error.value)


def test_a_file_that_does_not_import_is_refused(tmp_path):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(PoisonError, match=r"does not import \(ZeroDivisionError: division by zero\)"):
        outside.find(f"{tmp_path}/broken.py:Model")
    assert "broken" not in sys.modules


def test_an_option_that_is_not_there_names_near_ones():
    with pytest.raises(PoisonError, match="no option 'n_estimator': it takes n_estimators"):
        outside.build(Victim(FOREST, {"n_estimator": 3}))


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
    assert isinstance(outside.build(Victim("sklearn.linear_model:LogisticRegression")), LogisticRegression)
