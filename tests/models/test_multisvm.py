"""The support vector machine of several classes: optimum, passes, and what it needs."""

import numpy as np
import pytest
from linear_rows import several

from poisoncli.core.errors import PoisonError
from poisoncli.models.multisvm import MultiSVM
from poisoncli.training.multiclass import descend, fit, fit_softmax


def test_passes_come_to_the_least_number_of_steps():
    x, y = several(n=60)
    found = MultiSVM(passes=3, batch=20, steps=40).optimum(x, y, 0.0)[0]
    machine = descend(x, y, 3, 0.02, 20, 14)  # 14 passes of 3 steps are the first to make 40
    np.testing.assert_array_equal(found["w"], machine.w)
    plenty = MultiSVM(passes=3, batch=20, steps=6).optimum(x, y, 0.0)[0]
    np.testing.assert_array_equal(plenty["w"], descend(x, y, 3, 0.02, 20, 3).w)


def test_without_passes_it_is_at_its_optimum():
    x, y = several(n=60)
    found = MultiSVM(passes=0).optimum(x, y, 0.1)[0]
    best = fit(x, y, 3, 0.1)
    np.testing.assert_array_equal(found["w"], best.w)
    np.testing.assert_array_equal(found["b"], best.b)
    with pytest.raises(PoisonError, match="--lambda"):
        MultiSVM(passes=0).optimum(x, y, 0.0)


def test_softmax_regression_is_at_its_optimum_or_refused():
    x, y = several(n=60)
    found = MultiSVM(passes=0, loss="logistic").optimum(x, y, 0.1)[0]
    np.testing.assert_array_equal(found["w"], fit_softmax(x, y, 3, 0.1).w)
    for passes, lambda_ in ((0, 0.0), (3, 0.1)):
        with pytest.raises(PoisonError, match="to its optimum: give --lambda"):
            MultiSVM(passes=passes, loss="logistic").optimum(x, y, lambda_)


def test_with_two_classes_the_output_is_by_how_much_the_second_exceeds_the_first():
    params = [{"w": np.array([[1.0, 2.0], [3.0, -1.0]]), "b": np.array([0.5, -0.5])}]
    x = np.array([[1.0, 1.0], [0.0, 2.0]])
    np.testing.assert_allclose(MultiSVM().output(params, x @ params[0]["w"].T), [2 - 3 - 1.0, -2 - 4 - 1.0])
