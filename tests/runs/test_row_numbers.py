"""Rows go by the numbers that the user knows them by: in tables, exports, figures, targets."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from sklearn.datasets import load_digits
from typer.testing import CliRunner

import poisoncli
from poisoncli import Choice, Run
from poisoncli.cli import app
from poisoncli.datasets import DATASETS
from poisoncli.datasets.file import File

FLIP = ("attack", "--method", "flip", "--fraction", "0.2", "--n-train", "30", "--n-val", "10", "--n-test", "10")
NUMBER = 1000.0  # what a feature says about its own row: this times the number of the line below the header


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file whose first column tells the data row, and whose rows of class c must not be counted away."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    lines = [f"{NUMBER * i},{rng.random():.3f},{'cab'[i % 3]}" for i in range(1, 121)]
    Path("mine.csv").write_text("own,other,label\n" + "\n".join(lines) + "\n")
    return Path("mine.csv")


def done(*words: str) -> tuple[str, str]:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_exported_rows_are_the_lines_below_the_header(table: Path) -> None:
    done(*FLIP, "--dataset", "mine.csv", "--classes", "a,b")
    _, said = done("export", "run.h5", "out.csv")
    assert "data rows of mine.csv, from 1 below its header" in said
    rows = list(csv.DictReader(Path("out.csv").read_text().splitlines()))
    clean = [row for row in rows if row["poison"] == "0"]
    for row in clean:
        assert float(row["own"]) == pytest.approx(NUMBER * int(row["row"]), abs=0.1)
    lines = table.read_text().splitlines()
    replaced = [lines[int(row["replaced"])] for row in rows if row["poison"] == "1"]
    assert len(replaced) == 6
    assert all(line[-1] in "ab" for line in replaced)


@pytest.mark.parametrize("form", [(), ("--csv",), ("--json",)])
def test_suspicious_rows_are_the_lines_below_the_header(table: Path, form: tuple[str, ...]) -> None:
    lines = table.read_text().splitlines()
    lines[77] = f"{NUMBER * 77},900,b"  # an outlier of a chosen class
    table.write_text("\n".join(lines) + "\n")
    out, said = done("defend", "--dataset", "mine.csv", "--classes", "a,b", "-d", "l2", *form)
    assert "data rows of mine.csv, from 1 below its header" in out + said
    if form == ("--csv",):
        assert next(csv.DictReader(io.StringIO(out)))["row"] == "77"
    elif form == ("--json",):
        assert json.loads(out)["rows"]["row"][0] == 77
    else:
        assert next(line.split()[0] for line in out.splitlines() if line.strip()[:1].isdigit()) == "77"


def test_rows_kept_are_the_files_own_lines(table: Path) -> None:
    _, said = done("defend", "--dataset", "mine.csv", "--classes", "a,b", "-d", "l2", "--export", "kept.csv")
    kept, given = Path("kept.csv").read_text().splitlines(), table.read_text().splitlines()
    assert kept[0] == given[0]
    assert len(kept) == 1 + 76  # 80 rows of two classes, 5 % of each removed
    assert set(kept) < set(given)
    assert all(line[-1] in "ab" for line in kept[1:])
    assert "rows of other classes were not judged" in said
    done("defend", "--dataset", "mine.csv", "--classes", "a,b", "-d", "l2", "--export", "kept.npz")
    with np.load("kept.npz") as arrays:
        np.testing.assert_allclose(arrays["x"][:, 0], NUMBER * arrays["row"])


def test_arrays_count_from_0(tmp_path: Path) -> None:
    x, y = np.arange(12.0).reshape(6, 2), np.array([0, 1, 2, 0, 1, 2])
    np.savez(tmp_path / "a.npz", x=x, y=y)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = x, y
    for name in ("a.npz", "a.h5"):
        data = File(str(tmp_path / name), classes=("0", "2")).load()
        assert data.row_numbers.tolist() == [0, 2, 3, 5]
        assert data.counted == f"rows of {name}, from 0"


@pytest.mark.parametrize(("name", "classes"), [("digits", (3, 5)), ("breast-cancer", (1, 0))])
def test_built_in_data_count_all_rows_from_0(name: str, classes: tuple[int, ...]) -> None:
    chosen, whole = DATASETS[name](classes).load(), DATASETS[name](()).load()
    np.testing.assert_array_equal(chosen.x, np.asarray(whole.x)[chosen.row_numbers])
    np.testing.assert_array_equal(whole.row_numbers, np.arange(DATASETS[name].rows))


def test_export_of_built_in_data_counts_all_rows(tmp_path: Path) -> None:
    run = Run(attack=Choice("flip"), fraction=0.2, n_train=30, n_val=10, n_test=10)
    path = poisoncli.attack(run, tmp_path / "run.h5")
    with np.load(poisoncli.export(poisoncli.read(path), tmp_path / "out.npz")) as found:
        labels = load_digits().target[found["row"]]  # type: ignore[attr-defined]
        assert set(labels) == {0, 8}
        np.testing.assert_array_equal((labels == 8) == found["y"], found["poison"] == 0)


@pytest.mark.long
def test_run_files_of_the_first_schema_keep_their_target_rows(tmp_path: Path) -> None:
    """They name rows by their places among the chosen classes."""
    quick = {"outer_steps": 2, "inner_steps": 2, "batch": 3}
    run = Run(attack=Choice("rmd", {**quick, "target": "rows:8,10"}), n_train=30, n_val=10, n_test=10, fraction=0.1)
    new = poisoncli.evaluate(poisoncli.attack(run, tmp_path / "run.h5"))
    with h5py.File(tmp_path / "run.h5", "a") as file:
        text = str(file.attrs["run"])
        assert '"target": "rows:8,10"' in text
        file.attrs["run"] = text.replace("rows:8,10", "rows:1,2")  # the second and third of the zeros and eights
        file.attrs["schema"] = 1
        del file["evaluate"]
    old = poisoncli.evaluate(tmp_path / "run.h5")
    for name in ("target_rate", "test_error"):
        np.testing.assert_array_equal(*(getattr(one.evaluations["none"], name) for one in (old, new)))
    again = poisoncli.evaluate(tmp_path / "run.h5")  # written anew, in the later schema
    assert '"target": "places:1,2"' in again.run
    assert dataclasses.replace(again, evaluations={}).run == dataclasses.replace(old, evaluations={}).run
