"""SEVER: the gradients that it looks at, their projections, and what it drops in rounds."""

import jax
import numpy as np
from planes import NOBODY, learner, plane

from poisoncli.defenses.sever import Sever, projections

KEY = jax.random.key(0)


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
