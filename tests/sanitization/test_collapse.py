"""Poison collapsed to few points pulls as the original does (KSL Theorem 1)."""

import numpy as np
import pytest
from linear_rows import linear_problem, several

from poisoncli.sanitization.additive import SIGNS, Rows, stack
from poisoncli.sanitization.collapse import collapse, collapse_multiclass
from poisoncli.training.multiclass import MulticlassLinear, gradient


@pytest.mark.parametrize("loss", ["hinge", "logistic"])
def test_collapsed_poison_pulls_like_the_original(loss):
    problem = linear_problem(loss=loss)
    rng = np.random.default_rng(3)
    poison = Rows(rng.normal(size=(30, 6)) * 0.4, np.repeat([-1.0, 1.0], [10, 20]))
    found = collapse(problem, poison)
    assert found.exact, found.why
    assert found.mismatch < 1e-9
    assert found.copies.sum() <= 30 * (1 + 1e-9)
    whole = np.maximum(1, np.rint(found.copies)).astype(int)
    again = Rows(np.repeat(found.x, whole, axis=0), np.repeat(SIGNS, whole))
    theta = problem.train(stack(problem.clean, again))
    np.testing.assert_allclose(theta.w, problem.train(stack(problem.clean, poison)).w, atol=0.03)


def test_where_the_theorem_does_not_hold_the_collapse_says_so():
    assert (
        "whole numbers"
        in collapse(linear_problem(integer=True), Rows(np.full((4, 6), 1.0), np.array([-1.0, 1, -1, 1]))).why
    )


def test_collapsed_points_pull_as_all_rows_do():
    x, y = several()
    machine = MulticlassLinear(0.2 * np.eye(3, 5), np.zeros(3))
    found = collapse_multiclass(machine, Rows(x, y), integer=False)
    assert len(found.y) <= 3 * 2
    assert found.exact, found.why
    assert found.mismatch < 1e-12
    whole = gradient(machine, x, y)
    few = [gradient(machine, point[None], [label]) for point, label in zip(found.x, found.y, strict=True)]
    by = sum(count * part.w for count, part in zip(found.copies, few, strict=True))
    np.testing.assert_allclose(by, whole.w * len(y), atol=1e-9)
