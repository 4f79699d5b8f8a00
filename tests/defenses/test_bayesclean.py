"""BayesClean: its sets, and the predictive distribution of the line."""

import jax
import numpy as np
import pytest
from planes import NOBODY, learner, plane

from poisoncli.defenses.bayesclean import BayesClean

KEY = jax.random.key(0)


@pytest.mark.parametrize("rule", ["printed", "magnitude", "interval"])
def test_bayesclean_follows_its_rule(rule):
    case = plane()
    defense = BayesClean(rule=rule)
    verdict = defense.weigh(KEY, case.data, learner(), NOBODY)
    mean, std, y = verdict.why["mean"], verdict.why["std"], case.data.y
    for number, (a, b) in enumerate([(-1, 0.5), (0.5, 1.5), (1.5, np.inf)], 1):
        if rule == "printed":
            inside = (np.abs(y) <= np.abs(mean + b * std)) & ((a < 0) | (np.abs(y) > np.abs(mean + a * std)))
        elif rule == "magnitude":
            inside = (np.abs(y) <= np.abs(mean) + b * std) & ((a < 0) | (np.abs(y) > np.abs(mean) + a * std))
        else:
            inside = (np.abs(y - mean) <= b * std) & (np.abs(y - mean) > a * std)
        assert np.all(verdict.why["set"][inside] <= number)
    np.testing.assert_array_equal(verdict.weight == 1, verdict.why["set"] == 1)
    np.testing.assert_array_equal(verdict.weight == 1, verdict.score <= 0)
    keep = BayesClean(rule=rule, flagged="keep").weigh(KEY, case.data, learner(), NOBODY)
    np.testing.assert_array_equal(keep.weight == 1, verdict.why["set"] <= 2)
    assert np.mean(verdict.weight[case.bad]) == 0


def test_bayesclean_by_magnitudes_keeps_what_the_printed_rule_does_above_a_mean_of_zero():
    mean, std = np.array([2.0, 0.0, -2.0]), np.ones(3)
    (_, printed), _ = BayesClean(rule="printed").regions(mean, std)
    (low, high), _ = BayesClean(rule="magnitude").regions(mean, std)
    np.testing.assert_array_equal(high, [2.5, 0.5, 2.5])
    np.testing.assert_array_equal(low, -high)
    np.testing.assert_array_equal(printed, [2.5, 0.5, 1.5])  # narrower where the mean is negative


def test_bayesclean_predicts_the_line_and_its_noise_also_with_collinear_columns():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 3)) + 0.3
    level = x @ rng.standard_normal(3) + 2
    y = level + 0.5 * rng.standard_normal(300)
    doubled = np.concatenate([x, x[:, :1], np.ones((300, 1))], axis=1)
    for features in (x, doubled):
        mean, std = BayesClean().predictive(features, y, features)
        np.testing.assert_allclose(mean, level, atol=0.15)
        np.testing.assert_allclose(std, 0.5, rtol=0.1)
    few, some = BayesClean().predictive(rng.standard_normal((10, 25)), y[:10], rng.standard_normal((4, 25)))
    assert np.all(np.isfinite(few))
    assert np.all(some > 0)
