"""The examples run."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.long
def test_own_data(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "own_data.py"), run_name="__main__")
    assert capsys.readouterr().out.count("test error at each share") == 2


@pytest.mark.long
def test_pipeline() -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", EXAMPLES / "pipeline.sh"], capture_output=True, text=True, env={**os.environ, "PATH": path}
    )
    assert done.returncode == 0, done.stderr
    header, first = done.stdout.splitlines()[:2]
    assert {"poison", "fraction", "test_error"} <= set(header.split(","))
    assert first.count(",") == header.count(",")
