"""Commands of the tests: run in this process, with what they say and leave behind."""

import csv
import io
import json
from pathlib import Path

from typer.testing import CliRunner

from poisoncli.cli import app

TINY = (
    *("--n-train", "40", "--n-val", "20", "--n-test", "20", "--fraction", "0.2"),
    *("-o", "outer_steps=5", "-o", "inner_steps=8", "-o", "batch=4", "-o", "trainer.epochs=20"),
)

FLIP = ("--method", "flip", "--n-train", "40", "--n-val", "20", "--n-test", "20", "-o", "trainer.epochs=20")


def poison(*words, stdin=None):
    """Run a command in this process; no traceback may show."""
    result = CliRunner().invoke(app, [str(word) for word in words], input=stdin)
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def done(*words, stdin=None):
    """A command that succeeds: its lines on stdout."""
    result = poison(*words, stdin=stdin)
    assert result.exit_code == 0, result.stderr
    return result.stdout.splitlines()


def contents(folder="."):
    """All files with their bytes, to see that nothing changed."""
    return {path: path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


def refused(*words, says, status=2, stdin=None):
    """A command that fails: one sentence on stderr, nothing on stdout, no file changed or left behind."""
    before = contents()
    result = poison(*words, stdin=stdin)
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    said = result.stderr.splitlines()  # which column was taken is said before what is wrong with it
    lines = [line for line in said if not line.startswith("poison: the target is the column")]
    assert len(lines) == 1, lines
    assert lines[0].startswith("poison: ")
    assert ": " in lines[0].removeprefix("poison: ")
    assert says in lines[0]
    assert contents() == before


def strict(text):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def told(*words, status=0):
    """A command with this exit status: what it printed, and what it said on stderr."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == status, result.output
    return result.stdout, result.stderr


def table(*words):
    """The rows that `poison evaluate` prints as CSV."""
    return list(csv.DictReader(io.StringIO(told("evaluate", *words, "--csv")[0])))
