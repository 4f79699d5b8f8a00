import warnings

import jax
import numpy as np
import pytest
from planes import learner, plane, trusted, weighted_line

from poisoncli.core.data import Data
from poisoncli.core.defense import Clues
from poisoncli.core.errors import PoisonError
from poisoncli.defenses import DEFENSES
from poisoncli.defenses.huber import Huber
from poisoncli.defenses.trim import Trim

KEY = jax.random.key(0)
REAL = ("trim", "huber", "sever", "proda", "duti", "bayesclean")


@pytest.mark.parametrize("name", [n for n in REAL if n not in ("bayesclean", "huber")])
def test_finds_gross_outliers(name):
    case = plane()
    more = {"confidence": 1.0} if name == "duti" else {}
    weight = DEFENSES[name](fraction=0.2, **more).weigh(KEY, case.data, learner(), trusted(case)).weight
    np.testing.assert_array_equal(weight == 0, case.bad)


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


@pytest.mark.sampled
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


@pytest.mark.sampled
@pytest.mark.parametrize("name", ["trim", "sever", "proda", "bayesclean", "huber", "duti"])
def test_works_for_a_network_too(name):
    case = plane(n=40, bad=4)
    weight = DEFENSES[name]().weigh(KEY, case.data, learner("real", "mlp"), trusted(case)).weight
    assert weight.shape == (40,)
    assert 0 < weight.sum() <= 40
