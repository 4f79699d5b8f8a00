"""poison collapse."""

import numpy as np
from mails import small

from poisoncli.runs import stages
from poisoncli.runs.description import Run


def test_collapse_verb(words, tmp_path):
    from typer.testing import CliRunner

    from poisoncli.cli import app

    path, out = stages.attack(small("minmax"), tmp_path / "a.h5", data_dir=words), tmp_path / "two.npz"
    shown = CliRunner().invoke(app, ["collapse", str(path), str(out), "--data-dir", words])
    assert shown.exit_code == 0, shown.output
    assert "whole numbers" in shown.stdout or "margin" in shown.stdout
    with np.load(out) as arrays:
        assert len(np.unique(arrays["x"], axis=0)) <= 2
    flips = stages.attack(Run(attack="flip"), tmp_path / "b.h5")  # type: ignore[arg-type]
    assert CliRunner().invoke(app, ["collapse", str(flips)]).exit_code == 2
