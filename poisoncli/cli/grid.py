"""Tables for people, as wide as the terminal: headers are wrapped, columns go on below, numbers are never cut."""

from __future__ import annotations

import dataclasses
import os
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_PIPE = 200  # letters in a line where there is no terminal
_TEXT = 20  # letters to which a column of words shrinks
_WORD = 14  # letters of a word in a header that stay together


def console() -> Console:
    """Standard output; as wide as the terminal or as $COLUMNS says, and wide in a pipe."""
    return Console(
        markup=False, emoji=False, width=None if sys.stdout.isatty() or os.environ.get("COLUMNS") else _PIPE
    )


@dataclasses.dataclass
class Grid:
    """A table to be printed on a `Console`. Columns of words are wrapped, columns of numbers stay whole.

    The columns that a line cannot hold stand below, beside the first column again.
    """

    title: str = ""
    _columns: list[tuple[str, bool]] = dataclasses.field(default_factory=list)  # name, whether of numbers
    _rows: list[tuple[str, ...]] = dataclasses.field(default_factory=list)

    def add_column(self, name: str, justify: str = "left", **_: Any) -> None:
        """A column of words on the left, or of numbers on the right."""
        self._columns.append((name, justify == "right"))

    def add_row(self, *cells: str) -> None:
        """A cell for each column."""
        self._rows.append(cells)

    def __rich_console__(self, console: Console, options: Any) -> Iterator[Table]:
        for number, shown in enumerate(self._blocks(options.max_width)):
            title = Text(self.title) if self.title and not number else None
            table = Table(title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD)
            narrow = _width([self._natural(column) for column in shown]) > options.max_width
            for column in shown:
                name, numbers = self._columns[column]
                header = "\n".join(textwrap.wrap(name, self._least(column))) if narrow and numbers else name
                justify = "right" if numbers else "left"
                table.add_column(Text(header), justify=justify, overflow="fold", no_wrap=numbers)
            for row in self._rows:
                table.add_row(*(Text(row[column]) for column in shown))
            yield table

    def _blocks(self, width: int) -> list[list[int]]:
        """Which columns stand side by side, the first of them in each block."""
        blocks: list[list[int]] = [[0]]
        for column in range(1, len(self._columns)):
            wanted = [*blocks[-1], column]
            if len(wanted) > 2 and _width([self._least(one) for one in wanted]) > width:
                wanted = [0, column]
                blocks.append(wanted)
            blocks[-1] = wanted
        return blocks

    def _natural(self, column: int) -> int:
        """The width of a column of which nothing is wrapped."""
        return max(len(text) for text in (self._columns[column][0], *(row[column] for row in self._rows)))

    def _least(self, column: int) -> int:
        """The width to which a column can shrink."""
        name, numbers = self._columns[column]
        if not numbers:
            return min(self._natural(column), _TEXT)
        longest = max(map(len, name.split()), default=0)
        return max(min(longest, _WORD), *(len(row[column]) for row in self._rows), 1)


def _width(columns: list[int]) -> int:
    """The width of a table with columns of these widths: margins, a letter between them, and one at each end."""
    return sum(columns) + 3 * len(columns) + 1
