"""The long table of a sweep: every number of every run file, in rows that pandas reads as they are."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from poisoncli import PoisonError
from poisoncli.cli import app
from poisoncli.reports import summary
from poisoncli.runs import run_file
from poisoncli.sweeps import long_table, naming
from poisoncli.sweeps.contents import contents
from poisoncli.sweeps.plan import load, run_path

WORDS = (
    *("sweep", "--grid", "attack=flip", "--grid", "trainer.epochs=5", "--grid", "n-train=40", "--grid", "n-val=10"),
    *("--grid", "fraction=0.1,0.2", "--grid", "seed=0:3", "--grid", "attack.batch=4", "--reps", "2", "-q"),
)
DEFENDED = 'defend = ["l2"]\n[base]\nattack = "flip"\nn_train = 40\ntrainer = { name = "sgd", epochs = 5 }\n'


def poison(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("grid") / "out"
    result = poison(*WORDS, "--out", place)
    assert result.exit_code == 0, result.output
    return place


def test_it_has_a_row_for_each_number(folder):
    found = pd.read_csv(folder / "sweep.csv")
    errors = found[found["metric"] == "test_error"]
    assert len(errors) == 3 * 2 * (2 + 3)  # seeds, repetitions, stages of 10 % and of 20 %
    assert set(found["defense"]) == {"none"}
    sweep = naming.indexed(load(folder / "sweep.toml", crafted=True), folder)
    for cell in sweep.cells:
        content = run_file.read(run_path(cell, folder))
        own = errors[errors["cell"] == cell.name]
        assert set(own["seed"]) == {cell.run.seed}
        assert set(own["largest_fraction"]) == {cell.run.fraction}
        wanted = [row["test_error"] for row in summary.rows(content)]
        np.testing.assert_allclose(own.groupby("poison")["value"].mean(), wanted)
    metrics = {"test_error", "val_error", "test_loss", "val_loss", "norm", "auc", "balanced_error", "recall:0"}
    assert metrics <= set(found["metric"])
    assert found["value"].notna().all()


def test_every_option_is_a_column(folder):
    found = pd.read_csv(folder / "sweep.csv")
    wanted = {"dataset": "digits", "dataset.classes": "0,8", "model": "logistic", "attack": "flip", "n_train": 40}
    wanted |= {"trainer.epochs": 5, "attack.batch": 4, "repetitions": 2, "reg": "none"}
    assert {name: found[name].iloc[0] for name in wanted} == wanted


def test_parquet_holds_the_same(folder):
    pytest.importorskip("pyarrow")
    left, right = pd.read_csv(folder / "sweep.csv"), pd.read_parquet(folder / "sweep.parquet")
    assert list(left.columns) == list(right.columns)
    for name in left.columns:
        if left[name].isna().all():  # an empty text, or no number
            assert (right[name].isna() | (right[name] == "")).all()
        elif left[name].dtype.kind in "bif":
            np.testing.assert_allclose(left[name], right[name])
        else:
            assert left[name].fillna("").astype(str).tolist() == right[name].astype(str).tolist()


def test_a_report_writes_it_anywhere(folder, tmp_path):
    result = poison("report", folder, "-o", tmp_path / "figure.png", "--table", tmp_path / "all.csv", "-q")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "all.csv").read_bytes() == (folder / "sweep.csv").read_bytes()
    result = poison("report", folder, "-o", tmp_path / "more.png", "--table", tmp_path / "all.txt", "-q")
    assert result.exit_code == 2
    assert "end its name in .csv or .parquet" in result.stderr


def test_seeds_are_repetitions_of_one_line(folder):
    _, panels = contents(folder)
    assert {panel: list(lines) for panel, lines in panels.items()} == {"": ["fraction = 0.1", "fraction = 0.2"]}
    table = pd.read_csv(folder / "sweep.csv")
    wanted = table[(table["metric"] == "test_error") & (table["largest_fraction"] == 0.2)]
    row = summary.rows(panels[""]["fraction = 0.2"])[-1]
    assert row["repetitions"] == 6
    last = wanted[wanted["poison"] == row["poison"]]["value"]
    assert row["test_error"] == pytest.approx(last.mean())
    assert row["test_error_se"] == pytest.approx(last.sem())


def test_what_a_defense_removes_is_there(tmp_path):
    (tmp_path / "plan.toml").write_text(DEFENDED)
    assert poison("sweep", "--config", tmp_path / "plan.toml", "--out", tmp_path / "out", "-q").exit_code == 0
    found = long_table.table(tmp_path / "out")
    behind = found[(found["defense"] == "l2") & (found["poison"] == found["poison"].max())]
    row = summary.rows(contents(tmp_path / "out")[1][""]["run"], "l2")[-1]
    for metric, key in (("removed", "removed"), ("poison_removed", "recall"), ("clean_removed", "clean_removed")):
        assert behind[behind["metric"] == metric]["value"].mean() == pytest.approx(row[key])


def test_a_folder_without_a_finished_run_has_no_table(tmp_path):
    with pytest.raises(PoisonError, match="holds no sweep"):
        long_table.table(tmp_path)
    (tmp_path / "sweep.toml").write_text("")
    with pytest.raises(PoisonError, match="is finished"):
        long_table.table(tmp_path)
