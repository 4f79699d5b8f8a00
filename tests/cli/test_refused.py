"""Small, skewed and contradictory requests get an answer or a sentence, never a traceback."""

import pytest
from typer.testing import CliRunner

from poisoncli.cli import app

SIZES = ("--n-train", "40", "--n-val", "20", "--n-test", "20")


def poison(*args):
    return CliRunner().invoke(app, list(args))


def refused(result, words):
    assert result.exit_code == 2, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_support_vector_machine_without_a_penalty_is_refused():
    assert poison("attack", "--model", "svm", "--method", "flip", *SIZES).exit_code in (0, 2)
    refused(poison("evaluate", "run.h5"), "model svm needs a penalty above 0")


@pytest.mark.parametrize("value", ["0", "nan", "-1", "inf"])
def test_a_defender_without_a_penalty_is_refused(value):
    poison("attack", "--model", "svm", "--method", "flip", "--lambda", "0.1", *SIZES)
    refused(poison("evaluate", "run.h5", "--lambda", value), "is no coefficient of a penalty")


@pytest.mark.parametrize("value", ["nan", "-1", "inf", "", "x"])
def test_a_lambda_that_is_none_is_refused(value):
    refused(poison("attack", "--lambda", value, *SIZES), "--lambda")


@pytest.mark.parametrize("sizes", [("3", "0.35"), ("4", "0.35"), ("6", "0.35"), ("20", "0.06"), ("2", "0.5")])
def test_few_rows_get_an_answer(sizes):
    n, fraction = sizes
    rest = ("--n-val", "4", "--n-test", "4", "--fraction", fraction)
    found = poison("attack", "--method", "flip", "--n-train", n, *rest)
    assert found.exit_code == 0, found.stderr
    assert poison("evaluate", "run.h5").exit_code == 0


@pytest.mark.parametrize("ones", [1, 5, 9])
def test_ten_rows_and_skewed_classes_get_an_answer_or_a_sentence(tmp_path, ones):
    lines = [f"{row},{row % 3},{int(row < ones)}" for row in range(10)]
    (tmp_path / "own.csv").write_text("\n".join(["a,b,y", *lines]) + "\n")
    found = poison("attack", "--dataset", "own.csv", "--method", "flip")
    assert found.exit_code in (0, 2), found.stderr
    assert "unexpectedly" not in found.stderr
