"""What attacks that add rows have in common."""

import numpy as np
import pytest

from poisoncli.core.errors import FailedError
from poisoncli.sanitization.additive import LinearProblem, Rows, best_candidates


def test_an_unreachable_set_is_said(words):
    def candidate(number):
        raise FailedError("the feasible set is empty")

    rows = Rows(np.ones((4, 2)), np.array([-1.0, 1, -1, 1]))
    linear_problem = LinearProblem(rows, rows, 2, 0.1, "hinge", "free", np.array(0.0), np.array(1.0), False)
    with pytest.raises(FailedError, match="within the feasible set"):
        list(best_candidates(linear_problem, 3, candidate))
