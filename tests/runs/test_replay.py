"""Poison of other tools, and run files judged by other defenders."""

import numpy as np
import pytest
from mails import FILTERS, write

from poisoncli.runs import replay
from poisoncli.runs.description import Choice, resolve_defense
from poisoncli.runs.prepare import restore


@pytest.mark.sampled
@pytest.mark.parametrize("suffix", [".npz", ".mat", ".csv", ".h5"])
@pytest.mark.parametrize("name", FILTERS)
def test_poison_of_a_stranger_is_judged(suffix, name, words, tmp_path):
    x = np.tile(np.r_[np.full(20, 3.0), np.zeros(20)], (10, 1))
    path = write(tmp_path / f"p{suffix}", x, np.where(np.arange(10) % 2, 1, -1))
    content = replay.with_given_poison(Choice("enron"), path, lambda_=0.05, data_dir=words)
    np.testing.assert_array_equal(content.poison.x[0].toarray(), x)
    judged = replay.reevaluate(content, [resolve_defense(Choice(name))], data_dir=words)
    assert judged.evaluations[name].test_error.shape == (1, 2)
    other = replay.reevaluate(content, [], lambda_=0.5, loss="logistic", passes=1, data_dir=words)
    assert other.evaluations["none"].test_loss[0, 1] != judged.evaluations["none"].test_loss[0, 1]


def test_points_outside_the_domain_are_counted(words, tmp_path):
    x = np.ones((4, 40))
    x[0, 0], x[1, 1] = -1, 0.5
    path = write(tmp_path / "p.npz", x, np.array([0, 1, 0, 1]))
    content = replay.with_given_poison(Choice("enron"), path, lambda_=0.05, data_dir=words)
    assert replay.outside_domain(restore(content, words), content.poison) == 2
