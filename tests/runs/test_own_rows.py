import json

import numpy as np
import pytest
from typer.testing import CliRunner

import poisoncli
from poisoncli import Choice, PoisonError, Run
from poisoncli.cli import app
from poisoncli.reports import summary
from poisoncli.runs import own_rows, run_file

SMALL = Run(
    dataset=Choice("digits"),
    attack=Choice("flip", {"batch": 6}),
    trainer=Choice("sgd", {"epochs": 30}),
    fraction=0.3,
    n_train=40,
    n_val=20,
    n_test=20,
    repetitions=2,
)


@pytest.fixture
def path(tmp_path):
    return poisoncli.attack(SMALL, tmp_path / "run.h5")


def test_weights_are_kept_and_evaluate_trains_behind_them(path):
    poisoncli.defend(path, Choice("trim", {"fraction": 0.5}))
    content = poisoncli.evaluate(path)
    found = run_file.read(path).defenses["trim"]
    assert found.weight.shape == found.score.shape == (2, 3, 40)
    np.testing.assert_array_equal(found.weight.sum(-1), 20)
    assert json.loads(found.choice)["fraction"] == 0.5
    table = summary.all_rows(content)
    assert [row["defense"] for row in table] == ["none"] * 3 + ["trim"] * 3
    assert all(row["removed"] == 0.5 for row in table[3:])
    assert table[3]["clean_removed"] == 0.5


def test_a_defense_that_removes_nothing_changes_nothing(path):
    poisoncli.defend(path, Choice("trim", {"fraction": 0.0}))
    content = poisoncli.evaluate(path)
    for name in ("test_error", "val_loss", "norm"):
        none, behind = (getattr(content.evaluations[key], name) for key in ("none", "trim"))
        np.testing.assert_allclose(behind, none, rtol=1e-6)


def test_detection_is_counted_on_the_true_poison(path):
    content = poisoncli.defend(path, Choice("trim", {"told": True}))
    content = poisoncli.evaluate(path)
    for stage, row in enumerate(summary.rows(content, "trim")):
        count, caught = content.poison.counts[stage], []
        for r in range(2):
            gone = np.flatnonzero(content.defenses["trim"].weight[r, stage] == 0)
            caught.append(len(np.intersect1d(gone, content.poison.replaced[r, :count])))
        if count:
            assert row["recall"] == pytest.approx(np.mean(caught) / count)
            assert row["precision"] == pytest.approx(np.mean(caught) / count)  # as many rows removed as poisoned
        else:
            assert np.isnan(row["recall"])


def test_other_options_replace_the_former_weights_and_scores(path):
    poisoncli.defend(path, "trim")
    poisoncli.evaluate(path)
    content = poisoncli.defend(path, Choice("trim", {"fraction": 0.1}))
    assert "trim" not in content.evaluations
    assert "none" in content.evaluations
    np.testing.assert_array_equal(run_file.read(path).defenses["trim"].weight.sum(-1), 36)


@pytest.mark.parametrize(
    ("name", "options", "word"),
    [
        ("nothing", {}, "choose one of"),
        ("trim", {"fraction": 2}, "must lie in"),
        ("trim", {"part": 1}, "no option"),
    ],
)
def test_wrong_requests(path, name, options, word):
    with pytest.raises(PoisonError, match=word):
        poisoncli.defend(path, Choice(name, options))


def test_the_verb_defends_and_exports(path, tmp_path):
    out = tmp_path / "clean.npz"
    result = CliRunner().invoke(app, ["defend", str(path), "-d", "trim", "-o", "told=yes", "--export", str(out)])
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(path)
    with np.load(out) as arrays:
        assert arrays["x"].shape == (40 - 12, 64)
        assert set(arrays["weight"]) == {1.0}
    shown = CliRunner().invoke(app, ["evaluate", str(path)])
    assert "the true fraction" in shown.stdout


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        ([], "--defense"),
        (["-d", "trim", "-o", "fraction"], "name=value"),
        (["-d", "trim", "-o", "sever.fraction=0.1"], "--defense sever"),
        (["-d", "trim", "-o", "fraction=x"], "fraction"),
    ],
)
def test_the_verb_says_what_is_wrong(path, words, cure):
    result = CliRunner().invoke(app, ["defend", str(path), *words])
    assert result.exit_code == 2
    assert cure in result.stderr
    assert "Traceback" not in result.stderr


def test_sparse_rows_are_judged_too(tmp_path, monkeypatch):
    """Word counts stay sparse; the learner is a linear svm."""
    import scipy.sparse as sp

    from poisoncli.core.data import Dataset
    from poisoncli.datasets.digits import Digits

    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    x = sp.csr_matrix(
        rng.poisson(0.3 + np.outer(y, [2, 0, 0]) + np.outer(1 - y, [0, 2, 0]), (80, 3)).astype(np.float32)
    )
    flipped = np.where(np.arange(80) < 4, 1 - y, y).astype(np.float32)
    data = Dataset(x, flipped, 0, np.inf, "binary", "ab", integer=True)
    monkeypatch.setattr(Digits, "load", lambda self, data_dir=None: data)
    for name in ("loss", "l2"):
        found = poisoncli.weigh_rows(Choice("digits"), name)
        assert found.weight.sum() == 76
        assert set(found.columns()["target"]) == {"0", "8"}
    assert np.mean(np.argsort(-poisoncli.weigh_rows(Choice("digits"), "loss").score)[:4] < 4) >= 0.75


def test_no_rate_is_looked_for_where_nothing_is_trained(monkeypatch):
    def refuse(*_):
        raise RuntimeError("trained")

    monkeypatch.setattr(own_rows, "settle", refuse)
    data = Choice("breast-cancer")
    assert own_rows.weigh_rows(data, "l2").weight.mean() == pytest.approx(0.95, abs=0.01)
    with pytest.raises(RuntimeError, match="trained"):
        own_rows.weigh_rows(data, "loss")
