"""poison defend and poison evaluate with poison of another tool."""

import json

import numpy as np
from mails import FILTERS, write


def test_evaluate_verb_with_poison_and_without(words, tmp_path):
    from typer.testing import CliRunner

    from poisoncli.cli import app

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
