"""Tables at any width: all numbers are there, whole, and no line is too long."""

import io

import pytest
from rich.console import Console

from poisoncli.cli.grid import Grid, console


def printed(grid, width):
    out = io.StringIO()
    Console(file=out, width=width).print(grid)
    return out.getvalue()


@pytest.fixture
def grid():
    found = Grid("A title of many words that does not fit into forty columns in any way")
    found.add_column("defense")
    for name in ("poison", "test error", "gain", "rows removed", "poison removed", "clean removed"):
        found.add_column(name, justify="right")
    found.add_column("was told")
    for row in range(3):
        numbers = [f"{100 * row + column}.5 ± 0.{column} %" for column in range(6)]
        found.add_row("bayesclean", *numbers, "the true share of poison [/red] and more than anybody knows")
    return found


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_numbers_are_whole_and_lines_fit(grid, width):
    text = printed(grid, width)
    assert max(map(len, text.splitlines())) <= width
    for row in range(3):
        for column in range(6):
            assert text.count(f" {100 * row + column}.5 ± 0.{column} %") == 1
    words = " ".join(text.split())
    for name in ("defense", "poison", "removed", "gain", "told", "title", "[/red]"):
        assert name in words


def test_a_wide_terminal_takes_one_block_and_a_narrow_one_repeats_the_first_column(grid):
    assert printed(grid, 200).count("defense") == 1
    assert printed(grid, 40).count("defense") > 1
    assert printed(grid, 40).count("bayesclean") == 3 * printed(grid, 40).count("defense")


def test_columns_says_how_wide_a_pipe_is(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console().width == 200
    monkeypatch.setenv("COLUMNS", "40")
    assert console().width == 40
