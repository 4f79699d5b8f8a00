"""Attacks that add rows, from the command line's functions down to the file, on small data and on Enron."""

import dataclasses

import numpy as np
import pytest
from mails import FILTERS, QUICK, small

from poisoncli.core.data import Sparse
from poisoncli.core.errors import PoisonError
from poisoncli.runs import replay, run_file, stages
from poisoncli.runs.description import Run
from poisoncli.runs.prepare import restore
from poisoncli.sweeps.drive import execute
from poisoncli.sweeps.plan import parse


@pytest.mark.sampled
@pytest.mark.parametrize("name", list(QUICK))
def test_poison_is_whole_within_its_box_counted_and_the_same_again(name, words, tmp_path):
    paths = [stages.attack(small(name), tmp_path / f"{k}.h5", data_dir=words) for k in range(2)]
    first, second = (run_file.read(path).poison for path in paths)
    assert isinstance(first.x, Sparse)
    x = first.x[0].toarray()
    assert x.shape == (11, 40)
    assert np.all(x % 1 == 0)
    assert np.all(x >= 0)
    assert np.all(first.replaced == -1)
    assert np.all(np.isin(first.y, (0, 1)))
    np.testing.assert_array_equal(x, second.x[0].toarray())
    np.testing.assert_array_equal(first.y, second.y)
    content = run_file.read(paths[0])
    assert replay.outside_domain(restore(content, words), first) == 0
    beyond = replay.beyond_limits(content, words)
    assert set(beyond) <= {"l2", "slab"}
    far = run_file.read(paths[0]).poison
    moved = dataclasses.replace(content, poison=far._replace(x=Sparse([far.x[0] * 50])))
    assert replay.beyond_limits(moved, words)["l2"] == 11


@pytest.mark.long
def test_the_attacks_beat_flips_of_the_same_number(words, tmp_path):
    errors = {}
    for name in ("kkt", "minmax", "alfa"):
        path = stages.attack(small(name), tmp_path / f"{name}.h5", data_dir=words)
        errors[name] = stages.evaluate(path, data_dir=words).evaluations["none"].test_error[0]
    assert errors["kkt"][1] > errors["kkt"][0]
    assert max(errors["kkt"][1], errors["minmax"][1]) >= errors["alfa"][1]


def test_a_model_that_cannot_take_sparse_rows_is_said(words, tmp_path):
    wanted = Run(dataset="enron", model="logistic", attack="rmd")  # type: ignore[arg-type]
    with pytest.raises(PoisonError, match="--model svm"):
        stages.attack(wanted, tmp_path / "a.h5", data_dir=words)


@pytest.mark.long
def test_a_sweep_draws_bars_and_time(words, tmp_path):
    text = """
    title = "small"
    draw = ["defenses", "time"]
    defend = ["all"]
    [base]
    dataset = "enron"
    model = "svm"
    lambda = 0.05
    fraction = 0.05
    [line.KKT]
    attack = { name = "kkt", repeats = [1, 5], quantiles = [0.2, 0.4], splits = 3 }
    """
    from typer.testing import CliRunner

    from poisoncli.cli import app

    plan, folder = parse(text, "here"), tmp_path / "out"
    assert [outcome.status for outcome in execute(plan, folder, data_dir=words)] == ["done"]
    content = run_file.read(next(folder.glob("kkt.*.h5")))
    assert set(content.evaluations) == {"none", *FILTERS}
    assert np.all(np.diff(content.timeline, axis=0) > 0)
    assert content.timeline[-1, 1] == pytest.approx(np.nanmax(content.poison.loss))
    assert CliRunner().invoke(app, ["report", str(folder)]).exit_code == 0
    assert (folder / "figure.png").stat().st_size > 10_000
