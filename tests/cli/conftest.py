"""A folder to work in, and run files crafted once."""

from pathlib import Path

import pytest
from command import TINY, done

import poisoncli
from poisoncli import Choice, Run
from poisoncli.runs import run_file


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in an empty folder, with no data files but embedded ones."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("POISON_DATA_DIR", str(tmp_path / "none"))
    return tmp_path / "work"


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """An evaluated run file and a plain one, crafted once."""
    place = tmp_path_factory.mktemp("finished")
    for name in ("plain.h5", "run.h5"):
        done("attack", *TINY, "--learn-lambda", "--reps", "2", "--out", place / name)
    done("evaluate", place / "run.h5")
    return place


@pytest.fixture
def run(finished, folder):
    """An evaluated run file in the working folder."""
    (folder / "run.h5").write_bytes((finished / "run.h5").read_bytes())
    return Path("run.h5")


@pytest.fixture
def plain(finished, folder):
    """A run file that was not evaluated, in the working folder."""
    (folder / "plain.h5").write_bytes((finished / "plain.h5").read_bytes())
    return Path("plain.h5")


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A run with errors set by hand: 0.1, 0.2, 0.3 without a defense, 0.05, 0.15, 0.4 behind l2."""
    run = Run(attack=Choice("flip", {"batch": 6}), fraction=0.3, n_train=40, n_val=20, n_test=20)
    path = poisoncli.attack(run, tmp_path_factory.mktemp("judged") / "run.h5")
    poisoncli.defend(path, Choice("l2", {"remove": 0.2}))
    content = poisoncli.evaluate(path)
    content.evaluations["none"].test_error[:] = [[0.1, 0.2, 0.3]]
    content.evaluations["l2"].test_error[:] = [[0.05, 0.15, 0.4]]
    run_file.write(path, content)
    return path
