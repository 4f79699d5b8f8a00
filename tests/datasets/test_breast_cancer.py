"""The Wisconsin breast cancer data as scikit-learn has them, each column in the unit interval."""

import numpy as np
from sklearn.datasets import load_breast_cancer

from poisoncli.datasets.breast_cancer import BreastCancer


def test_columns_are_scaled_over_all_rows_and_classes_keep_their_names():
    data, bunch = BreastCancer().load(), load_breast_cancer()
    low, high = bunch.data.min(0), bunch.data.max(0)
    np.testing.assert_allclose(data.x, (bunch.data - low) / (high - low), atol=1e-6)
    assert [BreastCancer.class_names[int(label)] for label in data.y] == list(bunch.target_names[bunch.target])
    other = BreastCancer(classes=(1, 0)).load()
    np.testing.assert_array_equal(other.y, 1 - data.y)
    np.testing.assert_array_equal(other.row_numbers, np.arange(569))
