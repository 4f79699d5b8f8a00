"""Figures of defenses: the curves of their gains, and the refusal where there are none."""

import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure

import poisoncli
from poisoncli import Choice, PoisonError, Run
from poisoncli.reports import defenses


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Flips on digits behind two filters."""
    run = Run(attack=Choice("flip", {"batch": 8}), n_train=40, n_val=20, n_test=40, fraction=0.4, repetitions=2)
    path = poisoncli.attack(run, tmp_path_factory.mktemp("defenses") / "run.h5")
    for name in ("knn", "l2"):
        poisoncli.defend(path, Choice(name, {"remove": 0.3}))
    poisoncli.evaluate(path)
    return path


def test_gains_are_the_share_of_the_error_that_is_taken_away(path):
    content, axis = poisoncli.read(path), Figure().subplots()
    shown = defenses._draw_gains(axis, content, ["l2", "knn"])
    assert list(shown) == ["l2 (nothing)", "knn (nothing)"]
    errors = {name: content.evaluations[name].test_error for name in ("none", "l2", "knn")}
    with np.errstate(divide="ignore", invalid="ignore"):
        for label, line in shown.items():
            gains = np.where(errors["none"] > 0, 1 - errors[label.split()[0]] / errors["none"], np.nan)
            expected = [100 * np.mean(one[~np.isnan(one)]) if np.any(~np.isnan(one)) else np.nan for one in gains.T]
            np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-5)
            np.testing.assert_allclose(line.get_xdata(), [0, 20, 40])
    assert shown["l2 (nothing)"].get_color() != shown["knn (nothing)"].get_color()


def test_defenses_stand_in_one_order_whichever_came_first(path):
    assert defenses._defenses(poisoncli.read(path)) == ["l2", "knn"]


def test_a_run_is_drawn_and_one_without_defenses_is_refused(path, tmp_path):
    content = poisoncli.read(path)
    defenses.draw_defended(content, tmp_path / "gain.svg")
    text = (tmp_path / "gain.svg").read_text()
    for word in ("gain (%)", "l2 (nothing)"):
        assert f"<!-- {word} -->" in text
    with pytest.raises(PoisonError, match="poison defend"):
        defenses.draw_defended(dataclasses.replace(content, defenses={}), tmp_path / "none.svg")
