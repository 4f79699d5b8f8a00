"""The support vector machine: its optimum is libsvm's, and what its options change."""

import numpy as np
import pytest
from linear_rows import planes
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from poisoncli.core.errors import PoisonError
from poisoncli.models.svm import SVM


def rows():
    x, signs = planes(n=120, d=4)
    return x, (signs + 1) / 2


def test_the_optimum_is_libsvms():
    x, y = rows()
    found = SVM().optimum(x, y, 0.05)[0]
    best = SVC(kernel="linear", C=1 / (120 * 0.05), tol=1e-8).fit(x, y)
    np.testing.assert_allclose(found["w"], best.coef_, atol=1e-4)
    np.testing.assert_allclose(found["b"], best.intercept_, atol=1e-4)
    assert found["w"].shape == (1, 4)


def test_with_the_logistic_loss_it_is_logistic_regression():
    x, y = rows()
    found = SVM(loss="logistic").optimum(x, y, 0.05)[0]
    best = LogisticRegression(C=1 / (120 * 0.05), tol=1e-8, max_iter=1000).fit(x, y)
    np.testing.assert_allclose(found["w"], best.coef_, atol=1e-3)


def test_chance_has_a_part_in_passes_alone():
    x, y = rows()
    assert len(SVM(draws=4).draws_of(x, y, 0.05, 0)) == 1
    drawn = [one[0]["w"] for one in SVM(passes=1, draws=4).draws_of(x, y, 0.05, 0)]
    assert len(drawn) == 4
    assert not np.array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0], SVM(passes=1, draws=4).draws_of(x, y, 0.05, 0)[0][0]["w"])


def test_it_needs_a_penalty():
    with pytest.raises(PoisonError, match="--lambda"):
        SVM().optimum(*rows(), 0.0)
