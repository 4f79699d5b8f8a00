"""Proda: how many groups it draws, and that the best of them wins."""

import jax
import numpy as np
import pytest
from planes import NOBODY, learner, plane, weighted_line

from poisoncli.core.errors import PoisonError
from poisoncli.defenses.proda import Proda


def test_proda_has_as_many_groups_as_the_bound_needs():
    count = Proda(epsilon=1e-5, size=5).groups(0.6)
    assert (1 - 0.6**5) ** count <= 1e-5 < (1 - 0.6**5) ** (count - 1)
    assert Proda().groups(1.0) == 1


def test_the_rows_kept_are_those_that_the_winning_model_fits_best():
    case = plane(bad=12)
    verdict = Proda(fraction=0.3).weigh(jax.random.key(0), case.data, learner(), NOBODY)
    kept = verdict.weight > 0
    assert np.sum(~kept) == 36
    assert not np.any(kept & case.bad)
    assert verdict.score[case.bad].min() > verdict.score[~case.bad].max()
    line = weighted_line(case.data, verdict.weight)  # the last model is trained on the rows kept
    residual = case.data.x @ line[:-1] + line[-1] - case.data.y
    np.testing.assert_allclose(verdict.score, residual**2 / 2, rtol=0.05, atol=0.02)


def test_a_group_on_which_the_steps_are_too_long_takes_shorter_ones():
    case = plane()
    stretched = case.data._replace(x=case.data.x * 30)
    weight = Proda(fraction=0.2).weigh(jax.random.key(0), stretched, learner(), NOBODY).weight
    assert np.sum(weight == 0) == 24


def test_groups_that_would_fill_the_memory_are_refused(monkeypatch):
    monkeypatch.setenv("POISON_MEMORY", "0.001")
    with pytest.raises(PoisonError, match=r"proda with .* groups needs about .*: choose a smaller -o size"):
        Proda(size=100).weigh(jax.random.key(0), plane().data, learner(), NOBODY)
