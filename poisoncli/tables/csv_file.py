"""CSV files as people have them: gzip, semicolons or tabs, decimal commas, a BOM, no header."""

from __future__ import annotations

import csv
import gzip
import logging
import re
from itertools import islice
from pathlib import Path
from typing import IO, Any

from poisoncli.core.errors import PoisonError
from poisoncli.tables import memory

LOG = logging.getLogger(__name__)
SEPARATORS = ",;\t|"
MISSING = ("?",)  # beside those that pandas knows: empty cells, NA, NaN, null, None, ...
_VALUE = 16  # bytes that a value takes at most while a table is read
_SAMPLED = 100  # rows that tell how decimals are written


def read_csv(path: Path, as_text: bool = False) -> Any:
    """A pandas frame of the file's columns, whose names may be repeated. Raises `PoisonError` for a bad one.

    as_text: take the cells as they are written.
    """
    import pandas

    try:
        with _opened(path) as file:
            separator = _separator(file.readline())
        with _opened(path) as file:
            lines = csv.reader(file, delimiter=separator)
            header, sample = next(lines, []), list(islice(lines, _SAMPLED))
    except UnicodeDecodeError:
        raise PoisonError(f"{path} is not written in UTF-8: save it as UTF-8, and try again") from None
    _check_size(path, len(header))
    if not sample:
        raise PoisonError(f"{path} has no rows below its header line: give some")
    if len(sample[0]) != len(header):
        raise PoisonError(
            f"{path} has {len(header)} column names but {len(sample[0])} values in its first row: mend it"
        )
    # pandas would rename repeated columns, so the names are those of the header as read here
    names, skipped = [name.strip() for name in header], 1
    if _is_row(names):
        names, skipped = [str(number) for number in range(len(header))], 0
        LOG.info("%s has no header line: its columns are numbered from 0", path)
    frame = pandas.read_csv(
        path,
        header=None,
        skiprows=skipped,
        sep=separator,
        decimal=_decimal(separator, sample),
        na_values=None if as_text else list(MISSING),
        keep_default_na=not as_text,
        dtype=str if as_text else None,
        skipinitialspace=True,
        low_memory=False,
        encoding="utf-8-sig",
        compression="gzip" if path.suffix.lower() == ".gz" else None,
    )
    frame.columns = names
    return frame


def _opened(path: Path) -> IO[str]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", newline="", encoding="utf-8-sig")
    return path.open(newline="", encoding="utf-8-sig")


def _separator(line: str) -> str:
    """What stands between the names of the header: of `SEPARATORS`, that which makes most columns."""
    return max(SEPARATORS, key=lambda one: len(next(csv.reader([line], delimiter=one), [])))


def _decimal(separator: str, rows: list[list[str]]) -> str:
    """The decimal point: a comma where cells between semicolons have one, and no cell a point."""
    cells = [cell.strip() for row in rows for cell in row]
    commas, points = (any(re.fullmatch(rf"-?\d*\{mark}\d+", cell) for cell in cells) for mark in ",.")
    return "," if separator != "," and commas and not points else "."


def _is_row(cells: list[str]) -> bool:
    """Whether the first line of a CSV file is a row of numbers, and not the names of columns.

    Column numbers, 0, 1, 2, ... or 1, 2, 3, ..., are names, as pandas writes them.
    """
    counted = [[str(number + first) for number in range(len(cells))] for first in (0, 1)]
    return cells not in counted and all(map(_is_number, cells))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_size(path: Path, columns: int) -> None:
    """Raise `PoisonError` where the file fills more memory than it may: its values, and their text."""
    lines = size = 0
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        while block := file.read(2**20):
            lines += block.count(b"\n") + block.count(b"\r")
            size += len(block)
            if size > memory.limit():  # what is zipped may have no end
                break
    memory.check(max(size, _VALUE * columns * (lines + 1)), path)
