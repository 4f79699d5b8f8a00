"""Decoys: the front of target error and clean loss, and its order."""

from linear_rows import linear_problem

from poisoncli.sanitization.decoys import decoys, middle_out, pareto


def test_decoys_are_a_front_that_starts_in_its_middle():
    front = decoys(linear_problem(), (1, 5, 20), (0.1, 0.3, 0.5))
    by_error = sorted(front, key=lambda decoy: decoy.error)
    assert not any(a.error > b.error and a.loss < b.loss for a in front for b in front)
    assert front[0].error == by_error[len(front) // 2].error
    assert len(pareto(front)) == len(front)
    assert middle_out(5) == [2, 1, 3, 0, 4]
