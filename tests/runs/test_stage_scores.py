"""The victim's scores at each stage are those of the parameters that are kept."""

import dataclasses

import numpy as np
import pytest
import regression_run

import poisoncli
from poisoncli import Choice, Run
from poisoncli.reports import summary
from poisoncli.runs import prepare

SMALL = Run(
    attack=Choice("flip"), trainer=Choice("sgd", {"epochs": 20}), n_train=40, n_val=20, n_test=20, fraction=0.2
)


def test_scores_are_those_of_the_kept_parameters(tmp_path):
    content = poisoncli.evaluate(poisoncli.attack(dataclasses.replace(SMALL, repetitions=2), tmp_path / "run.h5"))
    found, pixels = content.evaluations["none"], poisoncli.datasets.DATASETS["digits"]().load(None)
    for r in range(2):
        rows = content.split["test"][r]
        z = pixels.x[rows] @ found.params[0]["w"][r, -1, 0] + found.params[0]["b"][r, -1, 0]
        assert found.test_error[r, -1] == pytest.approx(np.mean((z > 0) != pixels.y[rows]))
        loss = np.log1p(np.exp(-np.where(pixels.y[rows] == 1, z, -z))).mean()
        assert found.test_loss[r, -1] == pytest.approx(loss, rel=1e-4)


def test_nmse_is_equation_7(tmp_path):
    path = regression_run.crafted(tmp_path)
    content = poisoncli.evaluate(path)
    prepared = prepare.restore(content)
    params, (x, y, _) = content.evaluations["none"].params[0], prepared.split.test
    for r in range(2):
        output = x[r] @ params["w"][r, -1, 0] + params["b"][r, -1, 0]
        nmse = np.mean((output - y[r]) ** 2) / np.mean(y[r] ** 2)
        assert content.evaluations["none"].test_error[r, -1] == pytest.approx(float(nmse), rel=1e-4)
    assert summary.rows(content)[0]["measure"] == "test NMSE"
