"""What one pair of axes shows: curves with bands, a search against time, histograms."""

import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure

from poisoncli.reports import measures
from poisoncli.reports.panels import LAYERS, STYLES, draw_histogram, draw_lines, draw_search


@pytest.fixture
def axis():
    return Figure().subplots()


def test_a_line_is_the_mean_against_the_share_of_poison_with_its_standard_error(content, axis):
    values = np.array([[0.1, 0.2, 0.4], [0.3, 0.2, 0.8]])[:, :, None]
    shown = draw_lines(axis, content("fixed"), values, "error", STYLES[1])
    x, y = shown["error"].get_data()
    np.testing.assert_allclose(x, [0, 15, 30])
    np.testing.assert_allclose(y, [0.2, 0.2, 0.6])
    band = axis.collections[0].get_paths()[0].vertices
    np.testing.assert_allclose(
        [band[:, 1].min(), band[:, 1].max()], [0.1, 0.8]
    )  # of two values, half their distance
    assert shown["error"].get_color() == STYLES[1][0]


def test_layers_have_a_line_each(content, axis):
    shown = draw_lines(axis, content("layers"), np.arange(18.0).reshape(2, 3, 3), "norm", STYLES[0])
    assert list(shown) == [f"norm, layer {number}" for number in (1, 2, 3)]
    assert [line.get_color() for line in shown.values()] == [color for color, *_ in LAYERS[:3]]


def test_a_search_is_drawn_against_minutes(content, axis):
    timed = dataclasses.replace(content("none"), timeline=np.array([[30.0, 0.1], [90.0, 0.25]]))
    shown = draw_search(axis, "time", "", {"kkt": timed}, {"kkt": STYLES[0]})
    np.testing.assert_allclose(np.transpose(shown["kkt"].get_data()), [[0.5, 10], [1.5, 25]])


def test_the_histogram_is_that_of_the_weights(content, axis):
    run = content("fixed")
    shown = draw_histogram(axis, "digits", run)
    found = measures.histogram(run)
    for name, key in (("clean victim", "clean"), ("poisoned victim", "poisoned")):
        np.testing.assert_array_equal(shown[name].get_data().values, found[key])
    assert axis.get_title() == "digits, 30 % poison"
