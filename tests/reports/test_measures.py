"""What a run file tells: consistency, norms, histograms and relative decrease, in tables and figures."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from typer.testing import CliRunner

import poisoncli
from poisoncli import Choice, PoisonError, Run
from poisoncli.cli import app
from poisoncli.core.stability import kuncheva
from poisoncli.reports import figures, measures, summary

BASE = Run(
    attack=Choice("rmd", {"outer_steps": 12, "inner_steps": 10, "batch": 12}),
    trainer=Choice("sgd", {"epochs": 20}),
    n_train=80,
    n_val=20,
    n_test=60,
    fraction=0.3,
    repetitions=2,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Run files without a penalty, with a fixed one, and of a network with a lambda for each layer."""
    place = tmp_path_factory.mktemp("measures")
    runs = {
        "none": BASE,
        "fixed": dataclasses.replace(BASE, lambda_=0.3),
        "layers": dataclasses.replace(BASE, model=Choice("mlp"), learn_lambda=True, per_layer=True),
    }
    for name, run in runs.items():
        poisoncli.evaluate(poisoncli.attack(run, place / f"{name}.h5"))
    return place


@pytest.fixture
def content(folder):
    return lambda name: poisoncli.read(folder / f"{name}.h5")


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


def test_json_holds_them_all(folder):
    result = CliRunner().invoke(app, ["evaluate", str(folder / "none.h5"), str(folder / "fixed.h5"), "--json"])
    assert result.exit_code == 0, result.output
    first, second = map(json.loads, result.stdout.splitlines())
    assert {"selected", "consistency", "layer_norm"} <= set(first["rows"][0])
    assert "decrease" in second["rows"][0]
    assert set(first["weights"]) == {"edges", "clean", "poisoned"}


def test_table_shows_the_decrease(folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # as wide as a pipe
    result = CliRunner().invoke(app, ["evaluate", str(folder / "none.h5"), str(folder / "fixed.h5")])
    assert "Relative decrease" in result.stdout
    assert "consistency (top 4 weights)" in CliRunner().invoke(app, ["evaluate", str(folder / "none.h5")]).stdout


@pytest.mark.parametrize(
    ("names", "draw"),
    [
        (["none", "fixed"], "test_error,log_lambda,norm,consistency,decrease"),
        (["none", "fixed"], "histogram"),
        (["fixed"], "log_lambda+norm"),
        (["layers"], "layer_norm,log_lambda"),
    ],
)
def test_figures_are_drawn(folder, tmp_path, names, draw):
    files = [str(folder / f"{name}.h5") for name in names]
    out = tmp_path / "figure.png"
    result = CliRunner().invoke(app, ["report", *files, "--draw", draw, "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert out.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("names", "draw"), [(["none"], "beauty"), (["none"], "decrease"), (["layers"], "consistency")]
)
def test_what_cannot_be_drawn_is_refused(content, tmp_path, names, draw):
    with pytest.raises(PoisonError, match="draw"):
        figures.figure([content(name) for name in names], tmp_path / "figure.png", [draw])
    assert not list(tmp_path.iterdir())


def test_a_policy_has_one_style_in_every_figure(content):
    one = figures._styles({"": {"a": content("none"), "b": content("fixed"), "c": content("layers")}})
    other = figures._styles({"left": {"x": content("layers")}, "right": {"y": content("fixed")}})
    assert one["c"] == other["x"]
    assert one["b"] == other["y"]
    again = figures._styles({"": {"a": content("fixed"), "b": content("fixed")}})
    assert again["a"] == one["b"]
    assert len(set(again.values())) == 2
    colors, _, markers = zip(*figures.STYLES, strict=True)
    assert len(set(colors)) == len(set(markers)) == len(figures.STYLES)


def test_a_lambda_learned_on_clean_rows_is_a_policy_of_its_own(tmp_path):
    run = dataclasses.replace(BASE, learn_lambda=True, clean_lambda=True, repetitions=1)
    content = poisoncli.read(poisoncli.attack(run, tmp_path / "run.h5"))
    assert summary.policy(content) == "learned-clean"
    assert summary.label(content) == "rmd, l2 penalty, lambda learned on clean rows"
    lambdas = content.poison.log_lambda[0, :, 0]
    assert np.all(lambdas == lambdas[0])
    assert set(figures.POLICIES) >= {"learned-clean"}


def test_the_error_of_real_targets_is_no_share(tmp_path, content):
    run = Run(dataset=Choice("diabetes"), attack=Choice("flip"), n_train=40, n_val=20, n_test=20)
    real = poisoncli.read(poisoncli.attack(run, tmp_path / "run.h5"))
    assert measures.shown(real, "test_error") == ("test NMSE", 1)
    assert measures.shown(content("none"), "test_error") == ("test error (%)", 100)
    assert measures.shown(content("none"), "consistency", 7).label == "consistency index, k = 7"
