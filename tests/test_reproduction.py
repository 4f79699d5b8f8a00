"""The cheap figures of the REPRODUCTION files, made again."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

import poisoncli
from poisoncli import Choice, Run
from poisoncli.runs import stages
from poisoncli.runs.poisoned import poisoned
from poisoncli.runs.prepare import restore
from poisoncli.tables import locate

ROOT = Path(__file__).parent.parent
DATA = os.environ.get("POISON_DATA_DIR")  # which tests do not see
SPR = (ROOT / "REPRODUCTION-spr.md").read_text(encoding="utf-8")


def row(first: str, after: str = "") -> list[float]:
    """The numbers of the row of SPR's file that starts with `first`, the first one behind the text `after`."""
    line = re.search(rf"^\| {re.escape(first)} \|(.*)\|$", SPR[SPR.index(after) :], re.M)
    assert line, first
    return [float(cell) for cell in line[1].split("|")]


def gains(content, name: str) -> np.ndarray:
    """In % of the NMSE without the defense, for each repetition and stage (SPR eq. 8)."""
    bare, behind = (content.evaluations[one].test_error for one in ("none", name))
    return 100 * (bare - behind) / bare


def crafted(path: Path, dataset: str, **fields):
    """A run file of the stealthy attack as SPR's presets have it."""
    alpha = fields.pop("alpha")
    attack = Choice("stealthy", {"start": "copy", "alpha": alpha})
    return poisoncli.attack(Run(dataset=Choice(dataset), attack=attack, **fields), path, data_dir=DATA)


@pytest.mark.long
@pytest.mark.skipif(locate.find("boston/boston.csv", DATA) is None, reason="boston is not in POISON_DATA_DIR")
def test_spr_boston(tmp_path):
    path = crafted(tmp_path / "boston.h5", "boston", alpha=0.3, repetitions=10)
    stages.defend(path, "sever", data_dir=DATA)
    for rule, name in (("magnitude", "BayesClean"), ("printed", "BayesClean, printed rule")):
        stages.defend(path, Choice("bayesclean", {"rule": rule}), data_dir=DATA)
        content = stages.evaluate(path, data_dir=DATA)
        told = row(f"| {name}", "| boston, 0.3 | TRIM")
        np.testing.assert_allclose(gains(content, "bayesclean").mean(axis=0), told, atol=1)
    np.testing.assert_allclose(content.evaluations["none"].test_error.mean(axis=0), row("boston, 0.3"), atol=0.01)
    np.testing.assert_allclose(gains(content, "sever").mean(axis=0), row("| SEVER", "| boston, 0.3 | TRIM"), atol=1)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "alpha", "fraction", "repetitions"), [("Fig. 1", 0.4, 0.4, 10), ("Fig. 4", 0.4, 0.2, 20)]
)
def test_spr_trim_on_a_line(tmp_path, name, alpha, fraction, repetitions):
    path = crafted(tmp_path / "line.h5", "line", alpha=alpha, fraction=fraction, repetitions=repetitions)
    stages.defend(path, Choice("trim", {"told": True}))
    content = stages.evaluate(path)
    _, poison, _ = poisoned(restore(content).split.train, content.poison, -1)
    found = np.mean(content.defenses["trim"].weight[:, -1][poison] == 0)
    (claim,) = re.findall(rf"^\| {re.escape(name)}:.*$", SPR, re.M)
    (said,) = re.findall(rf"alpha = {alpha}[^;|]*? finds (\d+) % of the poison[^;|]*? gain (-?\d+) %", claim)
    # TRIM ends at one of several sets, and rounding may tip it in a repetition or two
    assert 100 * found == pytest.approx(float(said[0]), abs=5)
    assert gains(content, "trim")[:, -1].mean() == pytest.approx(float(said[1]), abs=8)
