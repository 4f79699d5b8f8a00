"""poison evaluate: options of defenses, metrics, poison of other tools."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from command import table, told
from sklearn.datasets import load_diabetes, load_digits
from sklearn.metrics import balanced_accuracy_score, log_loss, mean_absolute_error, r2_score, roc_auc_score

import poisoncli
from poisoncli import Choice, Run
from poisoncli.runs import run_file


def test_options_reach_the_defenses_that_have_them(judged: Path) -> None:
    rows = table(judged, "-d", "l2", "-d", "slab", "-o", "remove=0.1", "-o", "slab.remove=0.3")
    for name, share in (("l2", 0.1), ("slab", 0.3)):
        assert {float(row["removed"]) for row in rows if row["defense"] == name} == {share}
    assert "defense l2 has no option 'share'" in told("evaluate", judged, "-d", "l2", "-o", "share=1", status=2)[1]
    assert "name it with --defense" in told("evaluate", "--dataset", "digits", "-o", "remove=0.1", status=2)[1]


@pytest.fixture
def prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table with real targets, and poison for it in its own units."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3)) * [1, 10, 100]
    y = 1000 + x @ [50, 5, 0.5] + 5 * rng.standard_normal(200)
    np.savetxt("prices.csv", np.column_stack([x, y]), delimiter=",", header="a,b,c,price", comments="", fmt="%.4f")
    np.savez("theirs.npz", poisx=x[:20], poisy=np.full(20, 1500.0))
    return Path("prices.csv")


@pytest.mark.long
def test_poison_for_real_targets_is_added_in_its_own_units(prices: Path) -> None:
    words = ("--dataset", prices, "--target", "price", "--poison", "theirs.npz")
    out, said = told("evaluate", *words, "--defense", "trim", "-o", "fraction=0.2", "--json")
    rows = json.loads(out)["rows"]
    assert [(row["defense"], row["poison"]) for row in rows] == [
        ("none", 0),
        ("none", 20),
        ("trim", 0),
        ("trim", 20),
    ]
    clean, poisoned, _, behind = (row["test_error"] for row in rows)
    assert clean < 0.05
    assert poisoned > 3 * clean
    assert behind < poisoned
    assert "outside" not in said  # its features are rows of the table
    assert "linear" in json.loads(out)["title"]
    out, _ = told("defend", *words, "--defense", "trim", "-o", "fraction=0.2", "--json")
    assert json.loads(out)["poison_removed"] >= 18


def test_exported_poison_comes_back_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features of a user's own classes are brought to [0, 1]; an export is in his units, and is read so."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((120, 2)) * [1, 1000]
    lines = [f"{a:.5f},{b:.3f},{int(a + b / 1000 > 0)}" for a, b in x]
    Path("mine.csv").write_text("a,b,label\n" + "\n".join(lines) + "\n")
    told(
        "attack",
        "--dataset",
        "mine.csv",
        "--model",
        "svm",
        "--method",
        "alfa",
        "--fraction",
        "0.1",
        "--lambda",
        "0.01",
    )
    told("export", "run.h5", "poison.csv")
    content = run_file.read("run.h5")
    again = poisoncli.with_given_poison(Choice("file", {"path": "mine.csv"}), "poison.csv")
    np.testing.assert_allclose(again.poison.x[0], content.poison.x[0], atol=1e-5)
    _, said = told("evaluate", "--dataset", "mine.csv", "--poison", "poison.csv")
    assert "outside" not in said


def test_refusals_name_options_that_the_verb_has(prices: Path) -> None:
    words = ("evaluate", "--dataset", prices, "--target", "price", "--poison", "theirs.npz")
    said = told(*words, "--model", "svm", status=2)[1]
    assert "--method" not in said
    assert "--model linear or mlp" in said
    assert "leave out --loss" in told(*words, "--loss", "logistic", status=2)[1]


@pytest.mark.long
def test_another_lambda_is_for_every_victim(prices: Path) -> None:
    words = ("evaluate", "--dataset", prices, "--target", "price", "--json")
    plain, shrunk = (json.loads(told(*words, *more)[0])["rows"][0] for more in ((), ("--lambda", "10")))
    assert shrunk["lambda"][0] == pytest.approx(10)
    assert shrunk["norm"] < 0.1 * plain["norm"]


def test_columns_that_say_nothing_are_left_out(prices: Path, judged: Path) -> None:
    assert "validation loss" in told("evaluate", judged)[0]
    assert "lambda" not in told("evaluate", judged)[0]
    rows = np.random.default_rng(0).random((40, 2))
    np.savez("small.npz", x=rows, y=rows[:, 0] > 0.5)
    out, _ = told("evaluate", "--dataset", "small.npz")
    for word in ("nan", "I_c", "val loss"):
        assert word not in out


@pytest.mark.long
def test_suspicious_rows_depend_on_the_penalty(prices: Path) -> None:
    """Under a heavy penalty the learner says the mean for all: the score is the distance from it."""
    words = ("defend", "--dataset", prices, "--target", "price", "-d", "trim", "--json")
    free, heavy = (json.loads(told(*words, *more)[0])["rows"] for more in ((), ("--lambda", "1000")))
    far = np.abs(np.array(heavy["target"]) - np.mean(heavy["target"]))
    assert np.corrcoef(far, np.sqrt(heavy["score"]))[0, 1] > 0.95
    assert (
        np.corrcoef(np.abs(np.array(free["target"]) - np.mean(free["target"])), np.sqrt(free["score"]))[0, 1] < 0.8
    )
    assert "--lambda -1.0 is not a coefficient" in told(*words, "--lambda", "-1", status=2)[1]
    assert (
        "--lambda is of no use here: only with --dataset"
        in told("defend", "run.h5", "-d", "trim", "--lambda", "1", status=2)[1]
    )


def outputs_of(content: run_file.RunFile, stage: int) -> tuple[np.ndarray, np.ndarray]:
    """Targets and logits of the test rows of a logistic regression, from the file alone and the data set."""
    data = load_digits()
    chosen = np.isin(data.target, (0, 8))
    x, y = data.data[chosen] / 16, data.target[chosen] == 8
    layer, rows = content.evaluations["none"].params[0], content.split["test"][0]
    return y[rows], x[rows] @ layer["w"][0, stage, 0] + layer["b"][0, stage, 0]


def test_metrics_are_those_of_scikit_learn(judged: Path) -> None:
    row = json.loads(told("evaluate", judged, "--json")[0])["rows"][2]
    y, logits = outputs_of(run_file.read(judged), 2)
    assert row["auc"] == pytest.approx(roc_auc_score(y, logits))
    assert row["balanced_error"] == pytest.approx(1 - balanced_accuracy_score(y, logits > 0))
    assert row["class_recall"] == pytest.approx({"0": np.mean(logits[~y] <= 0), "8": np.mean(logits[y] > 0)})
    assert row["log_loss"] == pytest.approx(log_loss(y, 1 / (1 + np.exp(-logits))), rel=1e-4)


@pytest.mark.parametrize("metric", ["auc", "balanced-error", "recall", "recall:8", "log-loss"])
def test_a_metric_takes_the_place_of_the_error(judged: Path, metric: str, tmp_path: Path) -> None:
    rows = json.loads(told("evaluate", judged, "--json", "--metric", metric)[0])["rows"]
    key = "class_recall" if "recall" in metric else metric.replace("-", "_")
    each = rows[0][key]
    expected = each if key != "class_recall" else each["8"] if ":" in metric else min(each.values())
    assert rows[0]["value"] == pytest.approx(expected)
    out = told("evaluate", judged, "--metric", metric)[0]
    assert rows[0]["measure"] in out
    assert "test error" not in out
    assert ("recall of 8" in out) == (key == "class_recall")
    told("report", judged, "--metric", metric, "-o", tmp_path / "a.svg")
    told("report", judged, "--metric", metric, "--draw", "test_error,norm", "-o", tmp_path / "b.svg")
    drawn = (tmp_path / "b.svg").read_text()
    assert f"<!-- {rows[0]['measure']}" in drawn
    assert "<!-- test error" not in drawn


def test_a_metric_that_is_not_there_is_refused(judged: Path) -> None:
    assert "no measure of classes" in told("evaluate", judged, "--metric", "mae", status=2)[1]
    assert "no such class, choose of 0, 8" in told("evaluate", judged, "--metric", "recall:9", status=2)[1]


def test_files_without_metrics_get_them_when_asked(judged: Path, tmp_path: Path) -> None:
    """As older versions wrote them; the errors stay what they are."""
    content, path = run_file.read(judged), tmp_path / "old.h5"
    bare = {name: dataclasses.replace(one, metrics={}) for name, one in content.evaluations.items()}
    run_file.write(path, dataclasses.replace(content, evaluations=bare, classes=()))
    assert "auc" not in json.loads(told("evaluate", path, "--json")[0])["rows"][0]
    told("report", path, "--metric", "auc", "-o", tmp_path / "old.png")
    found = run_file.read(path)
    assert found.classes == ("0", "8")
    for name, evaluation in content.evaluations.items():
        for key, values in evaluation.metrics.items():
            np.testing.assert_array_equal(found.evaluations[name].metrics[key], values)
        np.testing.assert_array_equal(found.evaluations[name].test_error, evaluation.test_error)


def test_a_regression_is_measured_in_its_own_units(tmp_path: Path) -> None:
    run = Run(dataset=Choice("diabetes"), attack=Choice("flip"), n_train=60, n_val=20, n_test=30, repetitions=2)
    path = poisoncli.attack(run, tmp_path / "real.h5")
    content = poisoncli.evaluate(path)
    data = load_diabetes()
    for r in range(2):
        layer = content.evaluations["none"].params[0]
        rows, scaler = content.split["test"][r], content.scaler
        x = (data.data[rows] - scaler["shift"][r]) / scaler["scale"][r]
        said = (x @ layer["w"][r, 1, 0] + layer["b"][r, 1, 0]) * scaler["y_scale"][r] + scaler["y_shift"][r]
        found = content.evaluations["none"].metrics
        assert found["mae"][r, 1] == pytest.approx(mean_absolute_error(data.target[rows], said), rel=1e-4)
        assert found["r2"][r, 1] == pytest.approx(r2_score(data.target[rows], said), rel=1e-4)
    assert "mean absolute error" in told("evaluate", path, "--metric", "mae")[0]
    told("evaluate", path, "--metric", "r2", "--fail-below", -1e6)


@pytest.mark.parametrize("classes", ["0,8", "0,1,3"])
def test_confusion_is_scikit_learns(tmp_path: Path, classes: str) -> None:
    """Of the parameters in the run file, for two classes and more; and the error of each class beside it."""
    from sklearn.metrics import confusion_matrix

    from poisoncli.core.victim import predict
    from poisoncli.runs.prepare import restore

    path = tmp_path / "run.h5"
    sizes = ("--n-train", 60, "--n-val", 30, "--n-test", 60, "--reps", 2)
    told(
        "attack",
        "--method",
        "flip",
        "--classes",
        classes,
        "--fraction",
        0.3,
        "-o",
        "batch=18",
        *sizes,
        "--out",
        path,
    )
    text = told("evaluate", path, "--confusion", "--json", "--quiet")[0]
    content = run_file.read(path)
    prepared, found = restore(content), json.loads(text)["confusion"]
    assert found["classes"] == classes.split(",")
    names, test = range(len(found["classes"])), prepared.split.test
    for stage in (0, 1):
        shares = []
        for r in range(2):
            params = [
                {one: leaf[r, stage] for one, leaf in layer.items()} for layer in content.evaluations["none"].params
            ]
            output = np.asarray(predict(prepared.objective.model, params, test.x[r]))
            predicted = output.argmax(1) if output.ndim == 2 else output > 0
            shares.append(confusion_matrix(test.y[r], predicted.astype(int), labels=names, normalize="true"))
        np.testing.assert_allclose(found["stages"]["none"][stage], np.mean(shares, axis=0), atol=1e-12)
    shown = told("evaluate", path, "--confusion", "--quiet")[0]
    worst = 1 - np.mean(shares, axis=0)[0, 0]
    assert "30.0% poison" in shown
    assert f"{worst:.1%}" in shown


def test_confusion_is_refused_for_real_targets(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    told("attack", "--dataset", "diabetes", "--method", "flip", "--fraction", 0.1, "--out", path)
    assert "--confusion is about classes" in told("evaluate", path, "--confusion", status=2)[1]
