"""poison defend: on a run, on one's own rows, and with poison of another tool."""

import csv
import io
import json

import numpy as np
import pytest
from mails import FILTERS, write
from regression_run import crafted
from typer.testing import CliRunner

from poisoncli import Choice, PoisonError
from poisoncli.cli import app
from poisoncli.runs import description, own_rows


def test_evaluate_verb_with_poison_and_without(words, tmp_path):
    path = write(tmp_path / "p.npz", np.ones((6, 40)), np.array([0, 1] * 3))
    common = ["evaluate", "--dataset", "enron", "--data-dir", words, "--lambda", "0.05", "--json"]
    shown = CliRunner().invoke(app, [*common, "--poison", path, "--defense", "all"])
    assert shown.exit_code == 0, shown.output
    rows = json.loads(shown.stdout.splitlines()[0])["rows"]
    assert {row["defense"] for row in rows} == {"none", *FILTERS}
    caught = CliRunner().invoke(
        app, ["defend", "--dataset", "enron", "--data-dir", words, "--poison", path, "-d", "all", "--json"]
    )
    assert caught.exit_code == 0, caught.output
    counts = [json.loads(line) for line in caught.stdout.splitlines()]
    assert [row["defense"] for row in counts] == FILTERS
    assert all(row["poison"] == 6 and 0 < row["clean_removed"] < 20 for row in counts)
    clean = CliRunner().invoke(app, [*common, "--defense", "l2"])
    assert clean.exit_code == 0, clean.output
    assert CliRunner().invoke(app, ["evaluate"]).exit_code == 2


@pytest.mark.long
def test_all_defenses_through_the_command_line(tmp_path):
    path, out, figure = crafted(tmp_path), tmp_path / "clean.csv", tmp_path / "gain.png"
    result = CliRunner().invoke(app, ["defend", str(path), "-d", "all", "-q"])
    assert result.exit_code == 0, result.output
    shown = CliRunner().invoke(app, ["evaluate", str(path), "--csv", "-q"])
    rows = list(csv.DictReader(io.StringIO(shown.stdout)))
    assert {row["defense"] for row in rows} == {"none", *description.defenses(["all"], real=True)}
    assert {row["knows"] for row in rows if row["defense"] == "bayesclean"} == {"nothing"}
    for row in rows:
        if row["defense"] == "trim":
            assert float(row["removed"]) == 0.4
    result = CliRunner().invoke(app, ["defend", str(path), "-d", "trim", "--export", str(out), "-q"])
    assert result.exit_code == 0, result.output
    kept = np.genfromtxt(out, delimiter=",", names=True)
    assert len(kept) == 36
    clean, raw = kept[kept["poison"] == 0], description.build(Choice("diabetes"), "dataset").load()
    np.testing.assert_allclose(clean["y"], raw.y[clean["row"].astype(int)], rtol=1e-4)
    assert CliRunner().invoke(app, ["report", str(path), "-o", str(figure), "-q"]).exit_code == 0
    assert figure.stat().st_size > 10_000


@pytest.fixture
def prices(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((150, 3)) * [1, 10, 100]
    y = 1000 + x @ [50, 5, 0.5] + 5 * rng.standard_normal(150)
    y[:5] += 4000
    path = tmp_path / "mine.csv"
    lines = ["a,b,c,price"] + [",".join(f"{v:.3f}" for v in (*row, t)) for row, t in zip(x, y, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("defense", ["trim", "huber", "sever", "proda", "bayesclean"])
def test_ones_own_rows_are_screened_without_an_attack(prices, defense):
    words = ["defend", "--dataset", str(prices), "--target", "price", "-d", defense, "--csv"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert len(rows) == 150
    assert {int(row["row"]) for row in rows[:5]} == {1, 2, 3, 4, 5} or defense == "sever"
    if defense == "bayesclean":
        first = rows[0]
        assert float(first["residual"]) == pytest.approx(float(first["target"]) - float(first["mean"]), abs=0.1)
        assert 800 < np.median([float(row["mean"]) for row in rows]) < 1500


def test_screening_writes_the_rows_kept_and_a_figure(prices, tmp_path):
    out, figure = tmp_path / "kept.csv", tmp_path / "why.svg"
    words = ["defend", "--dataset", str(prices), "--target", "price", "-d", "bayesclean", "-o", "rule=interval"]
    words += ["-o", "c1=2", "--export", str(out), "--figure", str(figure)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "it was told nothing" in " ".join(result.stdout.split())
    given, kept = prices.read_text().splitlines(), out.read_text().splitlines()
    assert kept[0] == given[0]
    assert set(kept) < set(given)
    assert not set(given[1:6]) & set(kept)
    assert figure.stat().st_size > 1000


def test_duti_takes_trusted_rows_from_a_file(prices, tmp_path):
    clean = tmp_path / "trusted.csv"
    lines = prices.read_text().splitlines()
    clean.write_text("\n".join([lines[0], *lines[-30:]]))
    words = ["defend", "--dataset", str(prices), "--target", "price", "-d", "duti", "--json"]
    assert CliRunner().invoke(app, words).exit_code == 2
    result = CliRunner().invoke(app, [*words, "--trusted", str(clean)])
    assert result.exit_code == 0, result.output
    assert "trusted rows" in json.loads(result.stdout)["knows"]


def test_screening_refuses_what_makes_no_sense(prices, tmp_path):
    flat = tmp_path / "flat.csv"
    flat.write_text("a,y\n" + "\n".join(f"{i},1" for i in range(30)))
    with pytest.raises(PoisonError, match="all 1"):
        own_rows.weigh_rows(Choice("file", {"path": str(flat)}), "trim")
    assert CliRunner().invoke(app, ["defend", "-d", "trim"]).exit_code == 2
