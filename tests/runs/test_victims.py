"""Victims from outside on run files: what is printed is what training on the exported rows by hand gives."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

import poisoncli
from poisoncli import Choice, PoisonError, Run
from poisoncli.cli import app
from poisoncli.runs import run_file, stages, victims
from poisoncli.training.own_models import Victim

LINEAR, FOREST = "sklearn.linear_model:LogisticRegression", "sklearn.ensemble:RandomForestClassifier"
FRAGILE = '''
from sklearn.linear_model import LogisticRegression

class Fragile(LogisticRegression):
    """Does not take more than 42 rows."""
    def fit(self, X, y):
        if len(X) > 42:
            raise RuntimeError("too many rows")
        return super().fit(X, y)
'''
PIPELINE = """
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

pipeline = make_pipeline(
    make_column_transformer((OneHotEncoder(), ["sex"]), (SimpleImputer(), ["age", "income"])),
    DecisionTreeClassifier(random_state=0, max_depth=3),
)
"""


def poison(*words: object, status: int = 0) -> tuple[str, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == status, result.output
    return result.stdout, result.stderr


@pytest.fixture(scope="module")
def crafted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flipped digits behind a defense that drops rows, two repetitions."""
    run = Run(attack=Choice("flip", {"batch": 6}), fraction=0.3, n_train=40, n_val=20, n_test=30, repetitions=2)
    path = poisoncli.attack(run, tmp_path_factory.mktemp("crafted") / "run.h5")
    poisoncli.defend(path, Choice("l2", {"remove": 0.2}))
    poisoncli.evaluate(path)
    return path


@pytest.fixture
def run(crafted: Path, tmp_path: Path) -> Path:
    """A copy for each test."""
    path = tmp_path / "run.h5"
    path.write_bytes(crafted.read_bytes())
    return path


def by_hand(path: Path, model: object, defense: str, repetition: int, fraction: float, tmp_path: Path) -> float:
    """The test error of a model that is trained on an exported table."""
    import pandas as pd
    from sklearn.base import clone
    from sklearn.datasets import load_digits

    out = tmp_path / "table.csv"
    words = ("--fraction", fraction, "--repetition", repetition, "--force")
    if defense == "none":
        poison("export", path, out, *words)
    else:
        poison("defend", path, "-d", defense, "-o", "remove=0.2", "--export", out, *words)
    table = pd.read_csv(out)
    features = [name for name in table.columns if name.startswith("x")]
    data = load_digits()
    chosen = np.isin(data.target, (0, 8))
    rows = run_file.read(path).split["test"][repetition]
    fitted = clone(model).set_params(random_state=repetition).fit(table[features], table["y"])
    test = pd.DataFrame(data.data[chosen][rows] / 16, columns=features)
    return float(np.mean(fitted.predict(test) != (data.target[chosen][rows] == 8)))


def test_errors_are_those_of_training_by_hand(run: Path, tmp_path: Path) -> None:
    words = ("--victim", LINEAR, "--victim", FOREST, "-o", "victim.n_estimators=5", "--json")
    rows = json.loads(poison("evaluate", run, *words)[0])["victims"]
    assert len(rows) == 2 * 2 * 3
    for row in rows:
        model = LogisticRegression() if row["victim"] == "LogisticRegression" else RandomForestClassifier(5)
        errors = [by_hand(run, model, row["defense"], r, row["fraction"], tmp_path) for r in range(2)]
        assert row["test_error"] == row["value"] == pytest.approx(np.mean(errors)), row
        assert row["seed"] == [0, 1]


def test_results_are_kept_and_read_without_the_code(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kept_model.py").write_text(FRAGILE.replace("> 42", "> 99"))
    monkeypatch.chdir(tmp_path)
    first = poison(
        "evaluate", run, "--victim", "kept_model.py:Fragile", "--victim", "kept_model:Fragile", "-o", "victim.C=3"
    )
    assert "Transfer: test error of each victim" in first[0]
    (tmp_path / "kept_model.py").unlink()
    sys.modules.pop("kept_model")
    again = poison("evaluate", run)[0]
    assert "kept_model.py:Fragile" in again  # two of one name are called by their sources
    assert again.split("Transfer")[1] == first[0].split("Transfer")[1]
    assert "AUC of each victim" in poison("evaluate", run, "--metric", "auc")[0]
    lines = poison("evaluate", run, "--csv")[0].splitlines()
    assert len(lines) == 1 + 6 + 12
    poison("report", run, "-o", tmp_path / "a.svg")
    assert "kept_model" not in sys.modules
    assert "behind l2" in (tmp_path / "a.svg").read_text()
    assert (
        "there is no file kept_model.py"
        in poison("evaluate", run, "--victim", "kept_model.py:Fragile", status=2)[1]
    )


def test_what_was_trained_is_not_trained_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poisoncli.evaluate_victims(run, [Victim(LINEAR)])
    poison("defend", run, "-d", "slab", "--victim", LINEAR)
    content = run_file.read(run)
    assert set(content.victims[0].measures) == {"none", "l2", "slab"}
    monkeypatch.setattr(victims, "_train", lambda cells, *_: pytest.fail(f"trains {cells}") if cells else iter(()))
    assert len(poisoncli.evaluate_victims(run, [Victim(LINEAR)]).victims) == 1


@pytest.mark.filterwarnings("default")
def test_a_training_that_fails_leaves_the_others(run: Path, tmp_path: Path) -> None:
    (tmp_path / "fragile.py").write_text(FRAGILE.replace("> 42", "> 33"))  # l2 leaves 32 of the 40 rows
    out, err = poison("evaluate", run, "--victim", f"{tmp_path}/fragile.py:Fragile", "--victim", LINEAR, status=1)
    assert "Fragile: 6 of 12 trainings failed" in err
    assert "RuntimeError: too many rows" in err
    lines = [line.split() for line in out.split("Transfer")[1].splitlines() if "%" in line]
    assert [line.count("-") for line in lines] == [1, 1, 1, 0, 0, 0]
    assert "Fragile" in poison("evaluate", run)[0]
    below = poison("evaluate", run, "--victim", f"{tmp_path}/fragile.py:Fragile", "--fail-above", "1", status=3)[1]
    assert "test error nan is above" in below


def test_thresholds_speak_of_victims_where_there_are_some(run: Path) -> None:
    dummy = (
        "--victim",
        "sklearn.dummy:DummyClassifier",
        "-o",
        "victim.strategy=constant",
        "-o",
        "victim.constant=0",
    )
    out, err = poison("evaluate", run, *dummy, "--fail-above", 0.49, status=3)
    assert "(DummyClassifier with " in err
    assert "it is a poor stand-in" in err
    poison("evaluate", run, "--fail-above", 0.49)
    assert "50.0" in out


def test_another_defender_is_measured_and_not_kept(run: Path) -> None:
    out = poison("evaluate", run, "-d", "slab", "--victim", LINEAR)[0]
    assert "slab" in out.split("Transfer")[1]
    assert "l2" not in out.split("Transfer")[1].split("defense")[1].replace("l2 penalty", "")
    assert not run_file.read(run).victims


@pytest.mark.filterwarnings("default")
def test_a_file_that_cannot_be_changed_is_measured_all_the_same(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = run_file.read(run)
    run_file.write(run, dataclasses.replace(content, evaluations={}))
    monkeypatch.setattr("poisoncli.tables.atomic.writable", lambda path: False)
    out, err = poison("evaluate", run, "--victim", LINEAR)
    assert "Transfer" in out
    assert "the victims were not saved" in err
    assert not run_file.read(run).victims


def test_a_defense_with_other_options_takes_its_results_away(run: Path) -> None:
    poisoncli.evaluate_victims(run, [Victim(LINEAR)])
    poisoncli.defend(run, Choice("l2", {"remove": 0.1}))
    assert set(run_file.read(run).victims[0].measures) == {"none"}


def test_all_cores_give_what_one_gives(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for cores in (1, 2):
        monkeypatch.setattr(victims, "usable_cores", lambda cores=cores: cores)
        found.append(poisoncli.evaluate_victims(run, [Victim(FOREST, {"n_estimators": 3})], save=False).victims[0])
    for defense, measures in found[0].measures.items():
        for name, values in measures.items():
            np.testing.assert_array_equal(found[1].measures[defense][name], values)


def test_real_targets_and_added_rows(tmp_path: Path) -> None:
    small = {"n_train": 60, "n_val": 20, "n_test": 30}
    path = poisoncli.attack(Run(dataset=Choice("diabetes"), attack=Choice("flip"), **small), tmp_path / "real.h5")
    poisoncli.evaluate(path)
    found = json.loads(poison("evaluate", path, "--victim", "sklearn.linear_model:Ridge", "--json")[0])
    assert [row["measure"] for row in found["victims"]] == ["test NMSE"] * len(found["rows"])
    assert found["victims"][0]["mae"] == pytest.approx(found["rows"][0]["mae"], rel=0.2)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "theirs.npz", x=rng.random((10, 64)), y=rng.integers(0, 2, 10))
    words = ("--dataset", "digits", "--poison", tmp_path / "theirs.npz", "--victim", LINEAR, "--json")
    assert len(json.loads(poison("evaluate", *words)[0])["victims"]) == 2


@pytest.mark.long
def test_a_table_is_given_as_it_is_or_encoded_where_a_model_refuses_it(tmp_path: Path) -> None:
    """A pipeline of the user's gets his columns and labels; a bare forest the features, which is said."""
    import pandas as pd

    rng = np.random.default_rng(0)
    age, sex = rng.integers(20, 70, 160), rng.choice(["man", "woman"], 160)
    label = np.where((age > 45) ^ (sex == "man"), "bad", "good")
    frame = pd.DataFrame({"age": age, "sex": sex, "income": rng.normal(size=160).round(3), "label": label})
    frame.loc[3, "income"] = np.nan
    frame.to_csv(tmp_path / "mine.csv", index=False)
    (tmp_path / "model.py").write_text(PIPELINE)
    words = ("--dataset", tmp_path / "mine.csv", "--target", "label", "--method", "flip", "--n-train", 80)
    path = tmp_path / "run.h5"
    poison("attack", *words, "--n-val", 20, "--n-test", 40, "--fraction", 0.2, "--out", path)
    both = (
        "--victim",
        f"{tmp_path}/model.py:pipeline",
        "--victim",
        FOREST,
        "-o",
        "victim.random_state=0",
        "--json",
    )
    out, err = poison("evaluate", path, *both)
    assert "RandomForestClassifier: it refuses the table's columns, and was given them encoded as numbers" in err
    assert "pipeline: it refuses" not in err
    rows = [row for row in json.loads(out)["victims"] if row["victim"] == "pipeline"]
    namespace: dict = {}
    exec(PIPELINE, namespace)
    test = frame.iloc[run_file.read(path).split["test"][0]]
    for row in rows:
        poison("export", path, tmp_path / "out.csv", "--fraction", row["fraction"], "--force")
        table = pd.read_csv(tmp_path / "out.csv")
        fitted = namespace["pipeline"].fit(table[["age", "sex", "income"]], table["label"])
        assert row["test_error"] == np.mean(fitted.predict(test[["age", "sex", "income"]]) != test["label"])


def test_a_damaged_victim_is_refused(run: Path) -> None:
    poisoncli.evaluate_victims(run, [Victim(LINEAR)])
    content = run_file.read(run)
    content.victims[0].measures["none"]["auc"] = np.zeros((1, 1))
    run_file.write(run, content)
    with pytest.raises(PoisonError, match="damaged"):
        run_file.read(run)


def test_options_that_belong_to_no_victim_are_refused(run: Path) -> None:
    assert "name it with --victim" in poison("evaluate", run, "-o", "victim.C=1", status=2)[1]
    assert "no option 'D'" in poison("evaluate", run, "--victim", LINEAR, "-o", "victim.D=1", status=2)[1]
    assert "of run files" in poison("defend", "--dataset", "digits", "-d", "l2", "--victim", LINEAR, status=2)[1]
    assert stages.evaluate(run).victims == ()
