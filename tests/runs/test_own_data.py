"""A user's own rows through attack, evaluation and export."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import poisoncli
from poisoncli import Choice, PoisonError, Run


@pytest.fixture
def table(tmp_path):
    """Two classes, 1 and 2, that a line separates; seconds since 1970, and tiny values."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3))
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    frame["seconds"] = 1_700_000_000 + rng.permutation(120)
    frame["tiny"] = 1e-9 * rng.random(120)
    frame["y"] = np.where(x @ [2.0, -1, 1] > 0, 2, 1)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    return frame


def attacked(tmp_path, **fields):
    data = Choice("file", {"path": str(tmp_path / "rows.csv")})
    run = Run(dataset=data, fraction=0.1, n_test=30, **fields)
    return poisoncli.attack(run, tmp_path / "run.h5", force=True)


def test_the_default_victim_is_trained_until_its_loss_has_settled(table, tmp_path, caplog):
    caplog.set_level("INFO", "poisoncli")
    path = attacked(tmp_path, attack=Choice("flip"))
    content = poisoncli.evaluate(path)
    x, y = table.drop(columns="y").to_numpy(), table["y"].to_numpy()
    train, test = content.split["train"][0], content.split["test"][0]
    known = make_pipeline(StandardScaler(), LogisticRegression(C=np.inf, max_iter=10_000)).fit(x[train], y[train])
    assert poisoncli.rows(content)[0]["test_error"] == pytest.approx(1 - known.score(x[test], y[test]), abs=0.04)
    assert "has settled at" in caplog.text
    assert "standardized" in caplog.text
    assert "for training" in caplog.text


def test_labels_are_the_users_own(table, tmp_path):
    options = {"target": "class:1", "target_label": "2", "outer_steps": 5}
    content = poisoncli.evaluate(attacked(tmp_path, attack=Choice("rmd", options), n_val=30))
    assert content.evaluations["none"].target_rate[0, 0] == pytest.approx(0, abs=0.1)
    with pytest.raises(PoisonError, match="no class 0 to target: choose one of 1, 2"):
        attacked(tmp_path, attack=Choice("rmd", {"target": "class:0"}))


def test_clean_rows_come_out_to_the_last_digit(table, tmp_path):
    path = attacked(tmp_path, attack=Choice("rmd", {"outer_steps": 5}))
    found = pd.read_csv(poisoncli.export(poisoncli.read(path), tmp_path / "out.csv"))
    clean = found[found["poison"] == 0]
    expected = table.drop(columns="y").to_numpy()[clean["row"] - 1]
    np.testing.assert_array_equal(clean.iloc[:, :5].to_numpy(), expected)
    poison = found[found["poison"] == 1].iloc[:, :5].to_numpy()
    whole = table.drop(columns="y").to_numpy()
    assert np.all((poison >= whole.min(0)) & (poison <= whole.max(0)))
    assert len(np.unique(poison[:, 3])) > 1


def test_files_written_before_keep_their_scale(table, tmp_path):
    """Run files hold the scale of their features: what was crafted in [0, 1] is evaluated in [0, 1]."""
    import dataclasses

    from poisoncli.runs import run_file
    from poisoncli.runs.prepare import restore

    content = poisoncli.read(attacked(tmp_path, attack=Choice("flip")))
    whole = table.drop(columns="y").to_numpy()
    scaler = {
        **content.scaler,
        "shift": whole.min(0).astype(np.float32),
        "scale": np.ptp(whole, 0).astype(np.float32),
    }
    run_file.write(tmp_path / "old.h5", dataclasses.replace(content, scaler=scaler))
    x = restore(poisoncli.read(tmp_path / "old.h5")).split.train.x[..., :3]
    assert x.min() == pytest.approx(0, abs=1e-6)
    assert x.max() == pytest.approx(1, abs=1e-6)


def test_a_penalty_that_the_model_cannot_have_is_refused(table, tmp_path):
    with pytest.raises(PoisonError, match="model svm cannot be trained with --reg l1: choose --reg l2"):
        attacked(tmp_path, model=Choice("svm"), reg="l1", lambda_=0.1)
    with pytest.raises(PoisonError, match=r"does nothing to model multisvm as it is: add -o model\.passes=0"):
        attacked(tmp_path, model=Choice("multisvm"), lambda_=0.1)


def test_few_whole_numbers_are_regressed_where_the_model_asks_for_it(table, tmp_path):
    table["y"] = 1 + np.arange(120) % 4
    table.to_csv(tmp_path / "rows.csv", index=False)
    content = poisoncli.evaluate(attacked(tmp_path, model=Choice("linear"), attack=Choice("flip")))
    assert content.real
    assert poisoncli.rows(content)[0]["measure"] == "test NMSE"
