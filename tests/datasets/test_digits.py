"""The digits of scikit-learn: which classes, and in which order."""

import numpy as np

from poisoncli.datasets.digits import Digits


def test_all_digits_make_ten_classes():
    data = Digits(classes=()).load(None)
    assert data.task == "multiclass"
    assert len(data.y) == Digits.rows
    assert np.unique(data.y).tolist() == list(range(10))


def test_order_of_classes_sets_the_positive_one():
    assert np.array_equal(Digits(classes=(8, 0)).load(None).y, 1 - Digits().load(None).y)
    assert Digits(classes=(8, 0)).load(None).sha256 != Digits().load(None).sha256
