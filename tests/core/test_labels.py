"""Class labels to targets."""

import numpy as np
import pytest

from poisoncli.core.errors import PoisonError
from poisoncli.core.labels import fingerprint, select


def test_second_class_is_positive():
    rows, y, task = select(np.array([8, 0, 3, 8]), (8, 0))
    assert rows.tolist() == [0, 1, 3]
    assert y.tolist() == [0.0, 1.0, 0.0]
    assert y.dtype == np.float32
    assert task == "binary"


def test_no_classes_means_all():
    rows, y, task = select(np.array([5, 7, 2, 5]))
    assert rows.tolist() == [0, 1, 2, 3]
    assert y.tolist() == [1.0, 2.0, 0.0, 1.0]
    assert task == "multiclass"


def test_strings_are_labels_too():
    _, y, task = select(np.array(["ham", "spam", "ham"], dtype=object))
    assert y.tolist() == [0.0, 1.0, 0.0]
    assert task == "binary"


def test_unknown_class_lists_those_present():
    with pytest.raises(PoisonError, match="no class 3: choose classes from 0, 6"):
        select(np.array([0, 6]), (0, 3))


@pytest.mark.parametrize("classes", [(0,), (0, 0), (0, 6, 6)])
def test_too_few_classes_are_refused(classes):
    with pytest.raises(PoisonError, match="two or more"):
        select(np.array([0, 6]), classes)


def test_fingerprint_sees_values_shapes_and_types():
    x, y = np.zeros((2, 3), np.float32), np.zeros(2, np.float32)
    prints = {
        fingerprint(x, y),
        fingerprint(x.reshape(3, 2), y),
        fingerprint(x.astype(float), y),
        fingerprint(x + 1, y),
        fingerprint(x, y + 1),
    }
    assert len(prints) == 5
    assert fingerprint(x, y) == fingerprint(np.asfortranarray(x), y.copy())
