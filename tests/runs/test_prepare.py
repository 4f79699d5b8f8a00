"""Data sets made ready: splits, scales, and what does not fit."""

import numpy as np
import pytest
from regression_run import RUN

from poisoncli import Choice, PoisonError, Run
from poisoncli.runs import description, prepare


def test_rows_are_standardized_by_the_clean_training_rows():
    prepared = prepare.prepare(description.resolve(RUN))
    for part in (prepared.split.train.x, prepared.split.train.y):
        np.testing.assert_allclose(part.mean(1), 0, atol=1e-5)
        np.testing.assert_allclose(part.std(1), 1, atol=1e-5)
    raw = description.build(Choice("diabetes"), "dataset").load()
    x = prepared.split.val.x * prepared.scale[:, None] + prepared.shift[:, None]
    np.testing.assert_allclose(x, raw.x[prepared.rows["val"]], atol=1e-6)
    y = prepared.split.test.y * prepared.y_scale[:, None] + prepared.y_shift[:, None]
    np.testing.assert_allclose(y, raw.y[prepared.rows["test"]], rtol=1e-5)


def test_classes_and_real_targets_are_not_mixed_up():
    for run, word in (
        (Run(dataset=Choice("diabetes"), model=Choice("logistic")), "--model linear"),
        (Run(dataset=Choice("diabetes"), attack=Choice("rmd")), "--method .*stealthy"),
        (Run(model=Choice("linear")), "two classes"),
    ):
        with pytest.raises(PoisonError, match=word):
            prepare.prepare(description.resolve(run))
