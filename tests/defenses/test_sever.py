"""SEVER: the gradients that it looks at, their projections, and what it drops in rounds."""

import jax
import numpy as np
import pandas as pd
import pytest
from planes import NOBODY, learner, plane

from poisoncli.defenses.sever import Sever, projections
from poisoncli.runs.description import Choice
from poisoncli.runs.own_rows import weigh_rows

KEY = jax.random.key(0)


@pytest.mark.parametrize(("n", "d", "largest"), [(50, 7, 10), (8, 60, 10), (40, 60, 10)])
def test_sever_scores_are_those_of_an_svd(n, d, largest, monkeypatch):
    """However many parameters there are beside the rows."""
    monkeypatch.setattr("poisoncli.defenses.sever.LARGEST", largest)
    g = np.random.default_rng(0).standard_normal((n, d))
    centered = g - g.mean(0)
    top = np.linalg.svd(centered)[2][0]
    np.testing.assert_allclose(projections(g), (centered @ top) ** 2, rtol=1e-8, atol=1e-10)


def test_equal_gradients_have_no_direction():
    np.testing.assert_allclose(projections(np.ones((4, 3000))), 0)


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


def table(path, clean=1232, bad=308):
    """Rows of a plane with nearly collinear columns, and poison at one corner with a category of its own."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(clean + bad, 12))
    x[:, 6:] = x[:, :6] + 1e-3 * rng.normal(size=(clean + bad, 6))
    kind = rng.integers(0, 30, clean + bad)
    y = x[:, :6] @ rng.normal(size=6) + 0.3 * rng.normal(size=clean + bad) + 0.1 * (kind % 3)
    corner = np.sign(rng.normal(size=12)) * 2.5
    corner[6:] = -corner[:6] * 0.2
    x[clean:], y[clean:] = corner + 0.05 * rng.normal(size=(bad, 12)), y[clean:].max()
    frame = pd.DataFrame(np.round(x, 5), columns=[f"x{column}" for column in range(12)])
    frame["kind"], frame["y"] = [*(f"k{number}" for number in kind[:clean]), *["z"] * bad], np.round(y, 5)
    frame.to_csv(path, index=False)
    return Choice("file", {"path": str(path), "target": "y"}), np.arange(clean + bad) >= clean


@pytest.mark.long
def test_poison_with_a_column_of_its_own_is_seen_with_a_penalty_alone(tmp_path, caplog):
    caplog.set_level("INFO", "poisoncli")
    data, bad = table(tmp_path / "rows.csv")
    found = {}
    for value in (None, 1.0):
        caplog.clear()
        gone = weigh_rows(data, Choice("sever", {"fraction": 0.2}), lambda_=value).weight == 0
        assert gone.sum() == 308
        found[value] = np.sum(gone & bad)
        assert ("no penalty" in caplog.text) == (value is None)
    assert found[None] <= 10  # by chance they were 62
    assert found[1.0] >= 200
