"""What a run file tells: consistency, norms, histograms and relative decrease, in tables and figures."""

from __future__ import annotations

import numpy as np
import pytest

import poisoncli
from poisoncli import Choice, PoisonError, Run
from poisoncli.core.stability import kuncheva
from poisoncli.reports import measures, summary


def test_consistency_is_that_of_the_largest_weights(content):
    run = content("none")
    weights = run.evaluations["none"].params[0]["w"][:, :, 0]
    found = measures.consistency(run, 7)
    np.testing.assert_array_equal(found[:, 0], 1)
    for r, s in np.ndindex(2, 3):
        sets = [set(np.argsort(np.abs(weights[r, stage]))[-7:]) for stage in (0, s)]
        assert found[r, s] == pytest.approx(kuncheva(*(np.array(sorted(one)) for one in sets), 64))
    assert found[:, -1].mean() < 1
    row = summary.rows(run)[-1]
    assert row["selected"] == [2, 4, 7]
    assert row["consistency"][2] == pytest.approx(found[:, -1].mean())


@pytest.mark.parametrize(("name", "k"), [("none", 0), ("none", 64), ("layers", 5)])
def test_what_cannot_be_selected_is_refused(content, name, k):
    with pytest.raises(PoisonError, match="cannot be selected"):
        measures.consistency(content(name), k)


def test_networks_have_a_norm_for_each_layer_and_no_consistency(content):
    run = content("layers")
    row = summary.rows(run)[1]
    assert "consistency" not in row
    layers = run.evaluations["none"].params
    for number, layer in enumerate(layers):
        squares = sum((leaf[:, 1] ** 2).sum() for leaf in layer.values()) / 2
        assert row["layer_norm"][number] == pytest.approx(squares / measures.sizes(run)[number], rel=1e-5)


def test_decrease_compares_with_the_run_without_a_penalty(content):
    bare, fixed = content("none"), content("fixed")
    assert measures.reference(fixed, [fixed, bare]) is bare
    assert measures.reference(bare, [fixed, bare]) is None
    assert measures.reference(content("layers"), [bare]) is None
    errors = (bare.evaluations["none"].test_error, fixed.evaluations["none"].test_error)
    tables = [summary.rows(bare), summary.rows(fixed)]
    summary.add_decreases([bare, fixed], tables)
    there = errors[0][:, -1] > 0  # where there is an error to decrease
    assert np.any(there)
    wanted = np.mean(1 - errors[1][there, -1] / errors[0][there, -1])
    assert tables[1][-1]["decrease"] == pytest.approx(wanted, rel=1e-5)
    assert "decrease" not in tables[0][-1]


def test_histogram_counts_all_weights_without_biases(content):
    found = measures.histogram(content("fixed"))
    assert sum(found["clean"]) == sum(found["poisoned"]) == 2 * 64
    assert max(np.abs(measures.weights(content("fixed"), -1))) <= max(np.abs(found["edges"])) * (1 + 1e-6)


def test_the_error_of_real_targets_is_no_share(tmp_path, content):
    run = Run(dataset=Choice("diabetes"), attack=Choice("flip"), n_train=40, n_val=20, n_test=20)
    real = poisoncli.read(poisoncli.attack(run, tmp_path / "run.h5"))
    assert measures.shown(real, "test_error") == ("test NMSE", 1)
    assert measures.shown(content("none"), "test_error") == ("test error (%)", 100)
    assert measures.shown(content("none"), "consistency", 7).label == "consistency index, k = 7"
