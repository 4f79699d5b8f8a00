"""Models of the user's own: found by name and built with options, and what is said of bad ones."""

import sys

import pytest
from sklearn.ensemble import RandomForestClassifier

from poisoncli.core.errors import PoisonError
from poisoncli.training import own_models
from poisoncli.training.own_models import Victim

FOREST = "sklearn.ensemble:RandomForestClassifier"


def test_classes_factories_and_instances_are_built_anew(mine):
    forest = own_models.build(Victim(FOREST, {"n_estimators": 7}), seed=5)
    assert isinstance(forest, RandomForestClassifier)
    assert (forest.n_estimators, forest.random_state) == (7, 5)
    assert own_models.build(Victim(FOREST, {"random_state": 3}), seed=5).random_state == 3
    made = own_models.build(Victim(mine("factory"), {"C": 0.5, "logisticregression__tol": 0.1}), seed=2)
    assert made[-1].get_params() | {"C": 0.5, "tol": 0.1, "random_state": 2} == made[-1].get_params()
    one, other = (own_models.build(Victim(mine("pipeline"), {"logisticregression__C": c})) for c in (2, 3))
    assert (one[-1].C, other[-1].C) == (2, 3)


def test_options_are_known(mine):
    assert {"C", "kind", "logisticregression__C"} <= set(own_models.options_of(Victim(mine("factory"))))
    assert "n_estimators" in own_models.options_of(Victim(FOREST))


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
        own_models.build(Victim(source))
    assert "\n" not in str(error.value)


def test_a_file_that_does_not_import_is_refused(tmp_path):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(PoisonError, match=r"does not import \(ZeroDivisionError: division by zero\)"):
        own_models.find(f"{tmp_path}/broken.py:Model")
    assert "broken" not in sys.modules


def test_an_option_that_is_not_there_names_near_ones():
    with pytest.raises(PoisonError, match="no option 'n_estimator': it takes n_estimators"):
        own_models.build(Victim(FOREST, {"n_estimator": 3}))
