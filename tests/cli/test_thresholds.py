"""Limits of `poison evaluate` say what they are about."""

import json

import pytest
import typer
from command import table, told

import poisoncli
from poisoncli.cli import thresholds


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--fail-above", 0.35], 3, "test error 0.400 is above --fail-above 0.35 (with 30.0% poison, behind l2)"),
        (["--fail-above", 0.45], 0, ""),
        (["--fail-above", 0.25, "--at", 0.15], 0, "looks at 15.0% poison, the stage nearest to --at 0.15"),
        (["--fail-above", 0.19, "--at", 0.2], 3, "test error 0.200 is above --fail-above 0.19 (with 15.0% poison"),
        (["--fail-above", 0.35, "--defense", "none"], 0, ""),
        (
            ["--fail-above", 0.25, "--defense", "none"],
            3,
            "0.300 is above --fail-above 0.25 (with 30.0% poison, without",
        ),
        (["--at", 0.2], 2, "add --fail-above"),
        (["--fail-above", 0.2, "--at", 1.5], 2, "--at 1.5 is outside [0, 1]"),
    ],
)
def test_a_threshold_is_about_the_stage_and_the_defense_named(judged, words, status, says):
    assert says in told("evaluate", judged, *words, status=status)[1]


def test_a_named_defense_alone_is_held_against_the_threshold(judged):
    """Judged anew with its kept options, and nothing but it counts."""
    rows = table(judged, "--defense", "l2")
    assert [row["removed"] for row in rows if row["defense"] == "l2"] == ["0.2"] * 3
    worst = max(float(row["test_error"]) for row in rows if row["defense"] == "l2")
    told("evaluate", judged, "--defense", "l2", "--fail-above", worst)
    assert "behind l2" in told("evaluate", judged, "-d", "l2", "--fail-above", max(worst - 0.01, 0), status=3)[1]


def test_a_threshold_has_the_sense_of_its_metric(judged):
    lowest = min(row["auc"] for row in json.loads(told("evaluate", judged, "--json")[0])["rows"])
    auc = ("evaluate", judged, "--metric", "auc")
    told(*auc, "--fail-below", lowest - 1e-6)
    assert f"AUC {lowest:.3f} is below --fail-below" in told(*auc, "--fail-below", lowest + 1e-6, status=3)[1]
    assert "the AUC falls where things get worse: give --fail-below" in told(*auc, "--fail-above", 0.5, status=2)[1]
    assert (
        "rises where things get worse: give --fail-above"
        in told("evaluate", judged, "--fail-below", 0, status=2)[1]
    )
    assert "--fail-above says otherwise" in told(*auc, "--fail-above", 1, "--fail-below", 0, status=2)[1]


def test_an_error_that_is_no_number_passes_no_threshold():
    row = {"defense": "none", "fraction": 0.1, "measure": "test error", "value": float("nan")}
    with pytest.raises(typer.Exit) as stop:
        thresholds.judge([[row, {**row, "value": 0.1}]], 1.0, None, None, [], True)
    assert stop.value.exit_code == 3


def test_an_nmse_may_be_compared_with_more_than_1():
    row = {"defense": "none", "fraction": 0.1, "measure": "test NMSE", "value": 1.7}
    thresholds.judge([[row]], 2.0, None, None, [], True)
    with pytest.raises(poisoncli.PoisonError, match="give one in"):
        thresholds.judge([[{**row, "measure": "test error", "value": 0.7}]], 2.0, None, None, [], True)
