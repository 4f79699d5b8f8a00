"""What attacks that add rows have in common."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from poisoncli.core.errors import FailedError
from poisoncli.sanitization.additive import LinearProblem, Rows, best_candidates


def test_an_unreachable_set_is_said(words):
    def candidate(number):
        raise FailedError("the feasible set is empty")

    rows = Rows(np.ones((4, 2)), np.array([-1.0, 1, -1, 1]))
    linear_problem = LinearProblem(rows, rows, 2, 0.1, "hinge", "free", np.array(0.0), np.array(1.0), False)
    with pytest.raises(FailedError, match="within the feasible set"):
        list(best_candidates(linear_problem, 3, candidate))


def test_candidates_are_crafted_with_one_blas_thread_each():
    def threads():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    def candidate(number):
        seen.append(threads())
        raise FailedError("none")

    seen: list[set[int]] = []
    rows = Rows(np.eye(4), np.array([-1.0, -1.0, 1.0, 1.0]))
    linear = LinearProblem(rows, rows, 1, 0.1, "hinge", "free", -np.inf, np.inf, False)
    with threadpool_limits(2, user_api="blas"):
        with pytest.raises(FailedError, match="no decoy"):
            list(best_candidates(linear, 2, candidate))
        assert threads() == {2}
    assert seen == [{1}, {1}]
