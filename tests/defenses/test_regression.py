import warnings

import jax
import numpy as np
import pytest
from planes import NOBODY, learner, plane
from sklearn.linear_model import HuberRegressor

from poisoncli.core.data import Data
from poisoncli.core.defense import Clues
from poisoncli.core.errors import PoisonError
from poisoncli.defenses import DEFENSES
from poisoncli.defenses.bayesclean import BayesClean
from poisoncli.defenses.duti import Duti
from poisoncli.defenses.huber import Huber
from poisoncli.defenses.proda import Proda
from poisoncli.defenses.sever import Sever, projections
from poisoncli.defenses.trim import Trim

KEY = jax.random.key(0)
REAL = ("trim", "huber", "sever", "proda", "duti", "bayesclean")


def trusted(case) -> Clues:
    rng = np.random.default_rng(9)
    x = rng.uniform(-1, 1, (20, case.data.x.shape[1])).astype(np.float32)
    return Clues(Data(x, (x @ case.w).astype(np.float32), np.ones(20, np.float32)), 0.2)


@pytest.mark.parametrize("name", [n for n in REAL if n not in ("bayesclean", "huber")])
def test_finds_gross_outliers(name):
    case = plane()
    more = {"confidence": 1.0} if name == "duti" else {}
    weight = DEFENSES[name](fraction=0.2, **more).weigh(KEY, case.data, learner(), trusted(case)).weight
    np.testing.assert_array_equal(weight == 0, case.bad)


def weighted_line(data, weight):
    x = np.concatenate([data.x, np.ones((len(data.y), 1))], axis=1) * np.sqrt(weight)[:, None]
    return np.linalg.lstsq(x, data.y * np.sqrt(weight), rcond=None)[0]


@pytest.mark.parametrize("defense", [Trim(fraction=0.2), Huber(epsilon=1.1), Huber()])
def test_recovers_the_line_of_the_paper_with_a_fifth_gross_outliers(defense):
    rng = np.random.default_rng(1)
    x = rng.uniform(-5, 5, (200, 1))
    y = 0.8 * x[:, 0] + 1.2 * rng.standard_normal(200)
    y[:40] += 20 * np.sign(x[:40, 0])
    data = Data(x.astype(np.float32), y.astype(np.float32), np.ones(200, np.float32))
    clean = x[40:], y[40:], np.ones(160)
    clues = Clues(Data(*(np.asarray(part, np.float32) for part in clean)), np.nan)
    setting = learner()._replace(trainer=learner().trainer.__class__(0.1, 200))
    slope, _ = weighted_line(data, defense.weigh(KEY, data, setting, clues).weight)
    broken, _ = weighted_line(data, np.ones(200))
    assert broken > 1.5
    assert slope == pytest.approx(0.8, abs=0.25 if isinstance(defense, Huber) else 0.1)


def test_huber_weights_give_scikit_learns_line():
    case = plane(far=3.0)
    weight = Huber(epsilon=1.35).weigh(KEY, case.data, learner(), NOBODY).weight
    theirs = HuberRegressor(epsilon=1.35, alpha=1e-4, max_iter=10_000).fit(case.data.x, case.data.y)
    np.testing.assert_allclose(weighted_line(case.data, weight)[:2], theirs.coef_, atol=2e-3)
    assert weight.min() > 0


def test_sever_scores_are_those_of_an_svd():
    rng = np.random.default_rng(0)
    g = rng.standard_normal((50, 7))
    centered = g - g.mean(0)
    top = np.linalg.svd(centered)[2][0]
    np.testing.assert_allclose(projections(g), (centered @ top) ** 2, rtol=1e-8)


def test_sever_scores_the_gradients_of_a_linear_model():
    case = plane()
    verdict = Sever(fraction=0.0, rounds=1).weigh(KEY, case.data, learner(), NOBODY)
    from poisoncli.training.descent import fit
    from poisoncli.training.layout import lay_out

    setting = learner()
    start = setting.objective.model.init(KEY, 2)
    params = fit(setting.objective, setting.trainer, start, setting.log_lambda, lay_out(case.data))
    x = np.concatenate([np.ones((120, 1)), case.data.x], axis=1)
    residual = x @ np.r_[params[0]["b"], np.asarray(params[0]["w"])[0]] - case.data.y
    np.testing.assert_allclose(verdict.score, projections(residual[:, None] * x), rtol=1e-3, atol=1e-4)


def test_sever_drops_its_share_in_rounds():
    case = plane()
    for rounds in (1, 3, 7):
        weight = Sever(fraction=0.2, rounds=rounds).weigh(KEY, case.data, learner(), NOBODY).weight
        assert np.sum(weight == 0) == 24


def test_proda_has_as_many_groups_as_the_bound_needs():
    count = Proda(epsilon=1e-5, size=5).groups(0.6)
    assert (1 - 0.6**5) ** count <= 1e-5 < (1 - 0.6**5) ** (count - 1)
    assert Proda().groups(1.0) == 1


def test_duti_does_not_work_without_trusted_rows():
    with pytest.raises(PoisonError, match="--trusted"):
        Duti().weigh(KEY, plane().data, learner(), NOBODY)


@pytest.mark.parametrize("rule", ["printed", "interval"])
def test_bayesclean_follows_its_rule(rule):
    case = plane()
    defense = BayesClean(rule=rule)
    verdict = defense.weigh(KEY, case.data, learner(), NOBODY)
    mean, std, y = verdict.why["mean"], verdict.why["std"], case.data.y
    for number, (a, b) in enumerate([(-1, 0.5), (0.5, 1.5), (1.5, np.inf)], 1):
        if rule == "printed":
            inside = (np.abs(y) <= np.abs(mean + b * std)) & ((a < 0) | (np.abs(y) > np.abs(mean + a * std)))
        else:
            inside = (np.abs(y - mean) <= b * std) & (np.abs(y - mean) > a * std)
        assert np.all(verdict.why["set"][inside] <= number)
    np.testing.assert_array_equal(verdict.weight == 1, verdict.why["set"] == 1)
    np.testing.assert_array_equal(verdict.weight == 1, verdict.score <= 0)
    keep = BayesClean(rule=rule, flagged="keep").weigh(KEY, case.data, learner(), NOBODY)
    np.testing.assert_array_equal(keep.weight == 1, verdict.why["set"] <= 2)
    assert np.mean(verdict.weight[case.bad]) == 0


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


@pytest.mark.parametrize("name", REAL)
def test_awkward_columns_give_an_answer_and_never_nan(name):
    case = plane(n=60, bad=6)
    x = case.data.x
    twice = np.concatenate([x, x[:, :1], np.zeros((60, 1))], axis=1).astype(np.float32)
    wide = np.random.default_rng(0).standard_normal((60, 90)).astype(np.float32)
    for features in (twice, wide):
        few = learner()._replace(trainer=learner().trainer.__class__(0.05, 40))
        clues = Clues(Data(features[:10], case.data.y[:10], np.ones(10, np.float32)), 0.1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            verdict = DEFENSES[name]().weigh(KEY, case.data._replace(x=features), few, clues)
        assert np.all(np.isfinite(verdict.score))
        assert np.all(np.isfinite(verdict.weight))


@pytest.mark.parametrize("name", ["trim", "sever", "proda", "duti"])
def test_rejecting_nothing_keeps_all_and_rejecting_all_is_refused(name):
    case = plane(n=40, bad=4)
    assert DEFENSES[name](fraction=0.0).weigh(KEY, case.data, learner(), trusted(case)).weight.min() == 1
    with pytest.raises(PoisonError, match="leaves none"):
        DEFENSES[name](fraction=1.0).weigh(KEY, case.data, learner(), trusted(case))


@pytest.mark.parametrize("name", ["huber", "duti", "bayesclean"])
def test_linear_filters_refuse_classes_and_constant_targets(name):
    case = plane(n=40, bad=4)
    with pytest.raises(PoisonError, match="real targets"):
        DEFENSES[name]().weigh(KEY, case.data, learner("binary", "logistic"), trusted(case))
    with pytest.raises(PoisonError, match="all targets are the same"):
        DEFENSES[name]().weigh(KEY, case.data._replace(y=np.ones(40, np.float32)), learner(), trusted(case))


@pytest.mark.parametrize("name", ["trim", "sever", "proda", "bayesclean", "huber", "duti"])
def test_works_for_a_network_too(name):
    case = plane(n=40, bad=4)
    weight = DEFENSES[name]().weigh(KEY, case.data, learner("real", "mlp"), trusted(case)).weight
    assert weight.shape == (40,)
    assert 0 < weight.sum() <= 40
