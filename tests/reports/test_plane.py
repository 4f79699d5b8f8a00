"""Pictures of data with one feature: what stands where, and the landscape that the attacker climbs."""

import numpy as np
import pytest
from matplotlib.figure import Figure

import poisoncli
from poisoncli import Choice, Run
from poisoncli.reports import plane
from poisoncli.runs.prepare import restore


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Two points on forty rows of a line, one after the other, behind TRIM and BayesClean."""
    attack = Choice("stealthy", {"outer_steps": 5, "inner_steps": 10, "batch": 1})
    run = Run("line", attack=attack, n_train=40, n_val=20, n_test=20, fraction=0.05)
    path = poisoncli.attack(run, tmp_path_factory.mktemp("plane") / "run.h5")
    for name in ("trim", "bayesclean"):
        poisoncli.defend(path, name)
    poisoncli.evaluate(path)
    return path


@pytest.mark.sampled
@pytest.mark.parametrize("name", ["trim", "bayesclean"])
def test_rows_and_lines_stand_where_they_are(path, name):
    content, axis = poisoncli.read(path), Figure().subplots()
    plane.draw_rows(axis, content, restore(content), name)
    handles = dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
    poison = np.transpose(handles["poison"].get_data())
    np.testing.assert_allclose(poison[np.argsort(poison[:, 0]), 0], np.sort(content.poison.x[0, :, 0]), rtol=1e-6)
    assert len(handles["clean"].get_xdata()) == 38
    assert len(handles["removed"].get_xdata()) == np.sum(content.defenses[name].weight[0, -1] == 0)
    x, y = handles["from rows kept"].get_data()
    layer = content.evaluations[name].params[0]
    np.testing.assert_allclose(y, x * layer["w"][0, -1, 0, 0] + layer["b"][0, -1, 0], rtol=1e-5)
    assert ("I1 (c1 = 0.5)" in handles) == (name == "bayesclean")


def test_the_landscape_at_a_place_is_the_loss_that_the_attack_had_there(path):
    content = poisoncli.read(path)
    prepared, stage, poison = restore(content), 2, content.poison
    data, _ = plane._rows(content, prepared, stage)
    found = plane._objective(content, prepared, data, stage, poison.trail[0, stage].astype(np.float32))
    np.testing.assert_allclose(found, poison.loss[0, stage], rtol=1e-4)
    assert found[-1] > found[0]


def test_the_way_of_the_point_is_drawn(path):
    content, axis = poisoncli.read(path), Figure().subplots()
    plane.draw_landscape(axis, content, restore(content))
    handles = dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
    way = np.transpose(handles["way of one point"].get_data())
    np.testing.assert_allclose(way[:-1], content.poison.trail[0, 2])
    np.testing.assert_allclose(way[-1], [content.poison.x[0, 1, 0], content.poison.y[0, 1]])
