"""Features and targets in the units of the clean training rows."""

import numpy as np
import pytest
from regression_run import RUN

from poisoncli import Choice, PoisonError
from poisoncli.core.data import Dataset
from poisoncli.runs import description, prepare, scaling


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


def test_what_is_constant_is_divided_by_one():
    x = np.array([[1.0, 3], [1, 5], [1, 4]]) * 1e8
    np.testing.assert_array_equal(scaling.nonzero(x.std(0), x.max(0)), [1, x[:, 1].std()])


def test_constant_targets_are_refused():
    data = Dataset(np.arange(6.0)[:, None], np.array([1.0, 1, 1, 2, 3, 4]), 0, 1, "real", "")
    run = description.resolve(RUN)
    with pytest.raises(PoisonError, match="all the same"):
        scaling.scaler(run, data, np.array([[0, 1, 2]]))
    assert scaling.scaler(run, data, np.array([[3, 4, 5]]))["y_shift"] == 3
