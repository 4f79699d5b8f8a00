"""What the verbs share: paths from a pipe, and how failures end."""

import contextlib
import json
import logging
import os
import subprocess
import sys

import pytest
from command import FLIP, contents, done, poison, refused, strict
from typer.testing import CliRunner

from poisoncli.cli import app, common
from poisoncli.core.errors import Interrupted

pytestmark = pytest.mark.usefixtures("folder")


def test_paths_come_through_a_pipe(run, plain):
    lines = done("evaluate", "-", "--json", stdin="run.h5\n\nplain.h5\n")
    assert [json.loads(line)["run"] for line in lines] == ["run.h5", "plain.h5"]
    assert done("export", "-", "out.npz", stdin="run.h5\n") == ["out.npz"]
    assert done("report", "-", "-o", "out.svg", stdin="run.h5\n") == ["out.svg"]


@pytest.mark.parametrize("words", [("export", "-", "out.npz"), ("collapse", "-")], ids=" ".join)
def test_several_paths_where_one_is_read_are_refused(run, words):
    refused(*words, says="2 paths came through stdin and one is read here", stdin="run.h5\nrun.h5\n")


@pytest.mark.parametrize("words", [("evaluate", "-"), ("report", "-"), ("export", "-", "out.npz")], ids=str)
def test_an_empty_pipe_is_refused(words):
    refused(*words, says="no path came through stdin", stdin="\n")


def full(_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "words", [("attack", *FLIP), ("defend", "plain.h5", "-d", "knn"), ("export", "plain.h5", "out.npz")]
)
def test_full_disk_exits_with_1(plain, monkeypatch, words):
    monkeypatch.setattr(os, "fsync", full)
    refused(*words, says="No space left on device): free some space there", status=1)


@pytest.mark.filterwarnings("default")
def test_full_disk_costs_no_table(plain, monkeypatch):
    before = contents()
    monkeypatch.setattr(os, "fsync", full)
    result = poison("evaluate", plain)
    assert result.exit_code == 0
    assert "20.0%" in result.stdout
    assert result.stderr.startswith("poison: the evaluation was not saved: cannot write plain.h5 (No space left")
    assert "--out" not in result.stderr
    assert contents() == before


def test_interruption_exits_with_130_and_names_the_cure(monkeypatch):
    from poisoncli.runs import stages

    def interrupted(*_, **__):
        raise Interrupted("interrupted: the same command with --resume goes on from run.h5.partial")

    monkeypatch.setattr(stages, "attack", interrupted)
    refused("attack", *FLIP, says="--resume goes on", status=130)


def test_ctrl_c_exits_with_130(monkeypatch):
    from poisoncli.runs import stages

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "attack", interrupted)
    result = poison("attack", *FLIP)
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == "poison: interrupted: repeat the command\n"


def test_the_unexpected_is_no_traceback_unless_asked_for(monkeypatch):
    from poisoncli.runs import stages

    def broken(*_, **__):
        raise ValueError("too bad\nfor words")

    monkeypatch.setattr(stages, "attack", broken)
    refused("attack", *FLIP, says="failed unexpectedly (too bad): --debug shows where", status=1)
    result = CliRunner().invoke(app, ["attack", "--debug"])
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_a_closed_pipe_is_no_failure_to_report(run):
    command = f"{sys.executable} -m poisoncli evaluate run.h5 --csv | head -c 1"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert len(result.stdout) == 1
    assert "Traceback" not in result.stderr


def test_in_a_pipe_there_is_no_color_and_no_bar(run):
    command = [sys.executable, "-m", "poisoncli", "evaluate", run]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "\x1b" not in result.stdout + result.stderr
    assert result.stderr == ""
    assert "20.0%" in result.stdout


def test_numbers_that_json_has_no_word_for_become_null():
    text = common.as_json({"a": [1.5, float("nan")], "b": (float("inf"), {"c": -float("inf")}), "d": "nan"})
    assert strict(text) == {"a": [1.5, None], "b": [None, {"c": None}], "d": "nan"}


def test_a_remark_is_made_once(capsys):
    with common.remarks(quiet=False):
        for _ in range(3):
            logging.getLogger("poisoncli.tables").info("two rows were dropped")
    logging.getLogger("poisoncli.tables").info("not heard any more")
    assert capsys.readouterr().err == "poison: two rows were dropped\n"
    with common.remarks(quiet=True):
        logging.getLogger("poisoncli.tables").info("two rows were dropped")
    assert capsys.readouterr().err == ""


BAR = """
import sys, time
from poisoncli.cli import common
common.PATIENCE = float(sys.argv[1])
with common.progress(False) as report:
    time.sleep(0.5)
    if sys.argv[2] == "counts":
        report(1, 4, "crafting kkt poison")
        time.sleep(0.3)
"""


@pytest.mark.parametrize(
    ("patience", "does", "seen"),
    [
        ("0.1", "nothing", {"preparing"}),
        ("0.1", "counts", {"preparing", "crafting kkt poison", "25%"}),
        ("9", "counts", set()),
    ],
)
def test_a_bar_is_seen_before_anything_is_counted(patience, does, seen):
    """On a terminal, from a moment on; a quick verb has none."""
    main, side = os.openpty()
    try:
        subprocess.run(
            [sys.executable, "-c", BAR, patience, does], stderr=side, check=True, env=os.environ | {"TERM": "xterm"}
        )
        os.close(side)
        shown = b""
        with contextlib.suppress(OSError):  # at its end
            while part := os.read(main, 65536):
                shown += part
    finally:
        os.close(main)
    words = {word for word in ("preparing", "crafting kkt poison", "25%") if word.encode() in shown}
    assert words == seen
