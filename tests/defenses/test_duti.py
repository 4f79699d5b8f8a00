"""DUTI: what it corrects, against its objective, and that it needs trusted rows."""

import jax
import numpy as np
import pytest
from planes import NOBODY, learner, plane, trusted

from poisoncli.core.errors import PoisonError
from poisoncli.defenses.duti import Duti

KEY = jax.random.key(0)


def test_duti_does_not_work_without_trusted_rows():
    with pytest.raises(PoisonError, match="--trusted"):
        Duti().weigh(KEY, plane().data, learner(), NOBODY)


def test_the_targets_that_it_corrects_first_are_the_wrong_ones():
    case = plane(bad=10)
    verdict = Duti(fraction=10 / 120, confidence=1.0).weigh(KEY, case.data, learner(), trusted(case))
    np.testing.assert_array_equal(verdict.weight == 0, case.bad)
    assert np.all(verdict.why["correction"][case.bad] < 0)  # they lie above the plane
    assert verdict.score[case.bad].min() >= verdict.score[~case.bad].max()


def test_its_changes_minimize_the_objective():
    """At the least gamma that it came to, no small change of the changes is better."""
    case = plane(n=40, bad=4)
    clues = trusted(case)
    x, y = (np.asarray(leaf, float) for leaf in case.data[:2])
    z, t = (np.asarray(leaf, float) for leaf in clues.trusted[:2])
    defense = Duti(confidence=1.0, steps=3000)
    score, delta = defense._path((x, y), (z, t), 12)
    gamma_step = 60 - int(score[score > 0].min())
    ones, zone = (np.column_stack([part, np.ones(len(part))]) for part in (x, z))
    fold = np.diag([40 * 0.1, 40 * 0.1, 40e-9])
    solve = np.linalg.solve(ones.T @ ones + fold, ones.T)

    def smooth(changes):
        weights = solve @ (y + changes)
        own, far = y + changes - ones @ weights, zone @ weights - t
        return 0.5 * np.mean(far**2) + 0.5 * np.mean(own**2)

    def slope(changes):
        return np.array([(smooth(changes + 1e-5 * e) - smooth(changes - 1e-5 * e)) / 2e-5 for e in np.eye(40)])

    gamma = np.max(np.abs(slope(np.zeros(40)))) * 0.8 ** (gamma_step + 1)
    at = slope(delta)
    changed = delta != 0
    np.testing.assert_allclose(at[changed], -gamma * np.sign(delta[changed]), rtol=2e-2)
    assert np.all(np.abs(at[~changed]) <= gamma * 1.02)
