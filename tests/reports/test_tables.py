"""Cells of the tables for people, and what is said beneath them."""

import pytest

from poisoncli.reports import tables

ROW = {"measure": "test error", "value": 0.1234, "value_se": 0.01, "repetitions": 1, "poison": 5}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "12.3 %"),
        ({"repetitions": 3}, "12.3 ± 1.0 %"),
        ({"draw_spread": 0.02}, "12.3 % (orders ± 2.0)"),
        ({"measure": "test NMSE"}, "0.123"),
        ({"measure": "test NMSE", "repetitions": 3}, "0.123 ± 0.010"),
        ({"measure": "recall of spam"}, "12.3 %"),
        ({"measure": "AUC", "draw_spread": 0.02}, "0.123"),
        ({"measure": "log loss", "value": float("nan")}, "-"),
    ],
)
def test_an_error_is_a_share_unless_targets_are_real(changes, text):
    assert tables.percent({**ROW, **changes}) == text


def test_a_share_that_is_not_defined_is_a_dash():
    assert [tables.share(value) for value in (0.5, -0.25, float("nan"))] == ["50.0 %", "-25.0 %", "-"]


def test_the_least_error_is_that_of_the_most_poison():
    rows = [
        {**ROW, "defense": "l2", "poison": 0, "value": 0.01},
        {**ROW, "defense": "l2", "value": 0.3},
        {**ROW, "defense": "slab", "value": 0.2},
    ]
    assert tables.least(rows) == "least test error over the defenses: 20.0 % (slab)"
    high = [{**row, "measure": "AUC"} for row in rows]
    assert tables.least(high) == "highest AUC over the defenses: 0.300 (l2)"


def test_lists_are_spread_over_columns_for_machines():
    row = {"name": "a", "lambda": [0.1], "layer_norm": [1, 2], "class_recall": {"ham": 0.5}}
    flat = {"name": "a", "lambda": 0.1, "layer_norm_1": 1, "layer_norm_2": 2, "class_recall_ham": 0.5}
    assert tables.flat(row) == flat
