"""Outputs that are closed, full, or know few letters; names that look like markup; paths that are too long."""

import os
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from poisoncli.cli import app


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = np.c_[np.arange(30), np.arange(30) % 7]
    lines = [f"{a},{b},{'[/red]' if a % 2 else 'ä'}" for a, b in rows]
    (tmp_path / "[bold].csv").write_text("\n".join(["[bold],∑,y", *lines]) + "\n", encoding="utf-8")


def poison(*args, shell="", **environment):
    command = f'"$@" {shell}'
    return subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-m", "poisoncli", *args],
        capture_output=True, env={**os.environ, **environment}, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("args", [("--help",), ("datasets",)])
@pytest.mark.parametrize(("shell", "status"), [(">&-", {0}), (">&- 2>&-", {0}), (">/dev/full", {1})])
def test_outputs_that_cannot_be_written(args, shell, status):
    done = poison(*args, shell=shell)
    assert done.returncode in status, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    assert (b"cannot write the output" in done.stderr) == (status == {1})


@pytest.mark.long
def test_an_output_that_knows_few_letters():
    done = poison(
        "defend", "--dataset", "[bold].csv", "-d", "l2", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


def test_names_that_look_like_markup_are_shown():
    done = CliRunner().invoke(app, ["defend", "--dataset", "[bold].csv", "-d", "l2"])
    assert done.exit_code == 0, done.stderr
    assert "[bold].csv: l2 removes" in done.stdout


@pytest.mark.parametrize(
    "args", [("evaluate",), ("attack", "--config"), ("attack", "--dataset"), ("attack", "--out")]
)
def test_paths_that_are_too_long(args):
    done = CliRunner().invoke(app, [*args, "a" * 300 + ".csv"])
    assert done.exit_code == 2, done.stderr
    assert "unexpectedly" not in done.stderr
