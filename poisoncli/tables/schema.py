"""What the columns of a user's table are: kinds that are inferred, or that he says."""

from __future__ import annotations

import dataclasses
import difflib
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from poisoncli.core.errors import PoisonError

NUMBER, WHOLE, YES_NO, CATEGORY, TEXT, DATE, IDENTIFIER, EMPTY = (
    "number", "whole number", "yes/no", "category", "text", "date", "identifier", "empty",
)  # fmt: skip
KINDS = {kind: kind for kind in (NUMBER, WHOLE, YES_NO, CATEGORY, TEXT, DATE, IDENTIFIER)} | {
    "whole": WHOLE, "integer": WHOLE, "boolean": YES_NO, "bool": YES_NO, "id": IDENTIFIER,
}  # fmt: skip
NUMERIC = (NUMBER, WHOLE, YES_NO, DATE)  # kinds that become one feature
LEFT_OUT = (IDENTIFIER, EMPTY)
PAIRS = (("no", "yes"), ("false", "true"), ("n", "y"), ("f", "t"))
_WORDS = 6  # of a cell on average, from which on it is text
_FEW = 20  # distinct values that do not name the rows; rows of which too few are there to tell
_NUMBERS = 0.9  # share of a column's cells that are numbers, from which on the others look like mistakes
_SAMPLE = 1000  # cells that are looked at before all of them
_DAY = 86_400


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a table.

    name: the user's. kind: one of `KINDS`, or empty. missing: cells without a value; distinct: values that differ.
    values: of a category those that occur, of yes/no that for no and that for yes, as they stand in the table.
    form: how a date is written (strftime; empty where it is no text). unit: seconds of a step of a date.
    integers: whether the values stand there as whole numbers without a decimal point.
    """

    name: str
    kind: str
    missing: int = 0
    distinct: int = 0
    values: tuple[Any, ...] = ()
    form: str = ""
    unit: int = 1
    integers: bool = False


def infer(
    frame: Any, asked: Mapping[str, str], problems: list[str], row_name: Callable[[int], str]
) -> list[Column]:
    """The columns of a pandas frame; `asked` says of what kind some of them are.

    What cannot be used is told in `problems`, one sentence each, and the column is then taken as empty.
    """
    found = []
    for name in frame.columns:
        try:
            found.append(_column(frame[name], str(name), asked.get(str(name), ""), row_name))
        except PoisonError as error:
            problems.append(str(error))
            found.append(Column(str(name), EMPTY))
    return found


def kinds_asked(given: Iterable[str], known: Iterable[str], problems: list[str]) -> dict[str, str]:
    """The kinds that `--column name=kind` says."""
    found = {}
    for text in given:
        name, equals, word = text.rpartition("=")
        kind = KINDS.get(word.strip().lower())
        if not equals or kind is None:
            problems.append(f"--column {text} names no kind: write --column name=kind, with {', '.join(KINDS)}")
        elif name.strip() not in known:
            problems.append(absent(name.strip(), known, "--column"))
        else:
            found[name.strip()] = kind
    return found


def absent(name: str, known: Iterable[str], flag: str) -> str:
    """That there is no such column, with those of names like it."""
    names = list(known)
    lower = {one.lower(): one for one in names}
    near = [lower[one] for one in difflib.get_close_matches(name.lower(), list(lower), 3, 0.6)]
    listed = ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")
    if near:
        return f"there is no column {name!r}: {flag} could be {' or '.join(map(repr, near))}, out of {listed}"
    return f"there is no column {name!r}: name one with {flag}, out of {listed}"


def _column(series: Any, name: str, asked: str, row_name: Callable[[int], str]) -> Column:
    from pandas.api import types

    missing = int(series.isna().sum())
    if missing == len(series):
        return Column(name, EMPTY, missing)
    if asked == CATEGORY:
        return _category(series, name, missing)
    if asked in (TEXT, IDENTIFIER):
        return Column(name, asked, missing, int(series.nunique()))
    if types.is_bool_dtype(series.dtype):
        return _numbers(series.astype(float), name, missing, asked, (False, True), row_name)
    if types.is_numeric_dtype(series.dtype) and asked != DATE:
        integers = types.is_integer_dtype(series.dtype)
        return _numbers(series, name, missing, asked, (0, 1), row_name, integers)
    if types.is_datetime64_any_dtype(series.dtype):
        return _date(series, name, missing, "")
    return _words(series, name, missing, asked, row_name)


def _numbers(
    series: Any,
    name: str,
    missing: int,
    asked: str,
    pair: tuple[Any, Any],
    row_name: Callable[[int], str],
    integers: bool = False,
) -> Column:
    values = series.to_numpy(float, na_value=np.nan)
    bad = np.flatnonzero(np.abs(values) > np.finfo(np.float32).max)
    if bad.size:
        raise PoisonError(
            f"column {name!r} is infinite or too large for float32 in {row_name(int(bad[0]))} ({bad.size} such "
            f"cells): mend it, or leave the column out with --ignore {name}"
        )
    present = values[~np.isnan(values)] if missing else values
    distinct, whole = int(series.nunique()), not np.any(present % 1)
    both = set(np.unique(present[:_SAMPLE]).tolist()) <= {0, 1} and bool(np.all((present == 0) | (present == 1)))
    if asked == YES_NO and not both:
        raise PoisonError(f"column {name!r} has other numbers than 0 and 1: leave --column {name}=yes/no out")
    if asked == WHOLE and not whole:
        row = int(np.flatnonzero(np.nan_to_num(values) % 1)[0])
        raise PoisonError(
            f"column {name!r} has {values[row]:g} in {row_name(row)}, no whole number: --column {name}=number"
        )
    known = {"missing": missing, "distinct": distinct, "integers": integers}
    if asked not in (NUMBER, WHOLE) and both and (distinct == 2 or asked == YES_NO or pair[1] is True):
        return Column(name, YES_NO, **known, values=pair)
    if not asked and whole and distinct == len(present) and _names_rows(present, name):
        return Column(name, IDENTIFIER, **known)
    return Column(name, asked or (WHOLE if whole else NUMBER), **known)


def _names_rows(values: np.ndarray, name: str) -> bool:
    """Whether whole numbers, all different, name the rows: count them from 0 or 1, or are called `id`."""
    if len(values) < _FEW:
        return False
    called = re.search(r"(^|[_\W])(id|uuid|guid|key|index)$", name.lower()) or re.search(r"[a-z]I[dD]$", name)
    return bool(called) or any(np.array_equal(values, np.arange(len(values)) + first) for first in (0, 1))


def _words(series: Any, name: str, missing: int, asked: str, row_name: Callable[[int], str]) -> Column:
    import pandas

    present = series.dropna()
    cells = present.astype(str).str.strip()
    distinct = int(cells.nunique())
    if asked in ("", YES_NO) and distinct <= 2 and (pair := _pair(present)) is not None:
        return Column(name, YES_NO, missing, distinct, pair)
    if asked == YES_NO:
        shown = ", ".join(map(repr, pandas.unique(cells)[:3]))
        raise PoisonError(
            f"column {name!r} has other words than yes and no, such as {shown}: --column {name}=category"
        )
    if asked in ("", DATE) and (form := _form(cells)) is not None:
        return _date(series, name, missing, form)
    if asked == DATE:
        raise PoisonError(
            f"column {name!r} is no date that can be read in {row_name(_first(series))}: write 2024-12-31"
        )
    numbers: Any = pandas.to_numeric(cells, errors="coerce")
    if asked in (NUMBER, WHOLE) or numbers.notna().mean() >= _NUMBERS:
        bad = cells[numbers.isna()]
        if not len(bad):
            return _numbers(pandas.to_numeric(series), name, missing, asked, (0, 1), row_name)
        row = int(series.index.get_loc(bad.index[0]))
        other = f"--column {name}=category" if not asked else f"--ignore {name}"
        raise PoisonError(
            f"column {name!r} is a number but for {len(bad)} cells, the first {bad.iloc[0]!r} in {row_name(row)}: "
            f"mend them or leave them empty, or {other}"
        )
    if not asked and cells.iloc[:_SAMPLE].str.count(r"\s+").mean() + 1 >= _WORDS and distinct > len(cells) / 2:
        return Column(name, TEXT, missing, distinct)
    if not asked and distinct > max(_FEW, len(cells) / 2):
        return Column(name, IDENTIFIER, missing, distinct)
    return _category(series, name, missing)


def _first(series: Any) -> int:
    return int(series.notna().to_numpy().argmax())


def _category(series: Any, name: str, missing: int) -> Column:
    values = series.dropna().unique()
    try:
        ordered = sorted(values)
    except TypeError:  # of types that do not compare
        ordered = sorted(values, key=str)
    return Column(name, CATEGORY, missing, len(ordered), tuple(ordered))


def _pair(present: Any) -> tuple[Any, Any] | None:
    """The two values of a column that say no and yes; None if they say something else."""
    words = {str(value).strip().lower(): value for value in present.unique()}
    for no, yes in PAIRS:
        if words and set(words) <= {no, yes}:
            return words.get(no, no), words.get(yes, yes)
    return None


def _form(cells: Any) -> str | None:
    """How dates are written in all cells (strftime); None if these are no dates."""
    import pandas
    from pandas.tseries.api import guess_datetime_format

    first = str(cells.iloc[0])
    if not re.match(r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}", first):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a format that has the month first
        guesses = [guess_datetime_format(first, dayfirst=day_first) for day_first in (False, True)]
    for form in dict.fromkeys(guess for guess in guesses if guess):
        samples = (cells.iloc[:_SAMPLE], cells)
        known = (pandas.to_datetime(some, format=form, errors="coerce", utc=_zoned(form)) for some in samples)
        if all(one.notna().all() for one in known):
            return form
    return None


def _zoned(form: str) -> bool:
    """Whether dates of that form have offsets, of which there may be several: they are then taken as UTC."""
    return "%z" in form


def _date(series: Any, name: str, missing: int, form: str) -> Column:
    column = Column(name, DATE, missing, int(series.nunique()), form=form)
    seconds = to_numbers(series, column)
    days = not np.any(seconds[~np.isnan(seconds)] % _DAY)
    return dataclasses.replace(column, unit=_DAY if days else 1)


def to_numbers(series: Any, column: Column) -> np.ndarray:
    """A column that becomes one feature as numbers [N]; missing cells are NaN.

    Yes is 1 and no 0; a date is the number of days, or of seconds where it has a time of day, since 1970.
    """
    import pandas

    if column.kind == DATE:
        form, cells = column.form or None, series.astype(str).str.strip() if column.form else series
        when = pandas.to_datetime(cells, format=form, errors="coerce", utc=_zoned(column.form))
        when = when.dt.tz_localize(None) if when.dt.tz is not None else when
        seconds = (when - pandas.Timestamp(0)) / pandas.Timedelta(seconds=1)
        return seconds.where(series.notna()).to_numpy(float, na_value=np.nan) / column.unit
    if column.kind == YES_NO and isinstance(column.values[1], str):
        words = series.map(lambda cell: cell if cell is None or cell != cell else str(cell).strip().lower())
        yes, no = (str(value).strip().lower() for value in (column.values[1], column.values[0]))
        return words.map({yes: 1.0, no: 0.0}).to_numpy(float, na_value=np.nan)
    if series.dtype.kind not in "biuf":
        series = pandas.to_numeric(series, errors="coerce")
    return series.to_numpy(float, na_value=np.nan)


def from_numbers(values: np.ndarray, column: Column) -> np.ndarray:
    """The cells [n] that stand for numbers of `to_numbers`, as the table writes them."""
    import pandas

    if column.kind == DATE:
        when = pandas.to_datetime(np.rint(values) * column.unit, unit="s", utc=_zoned(column.form))
        return when.strftime(column.form).to_numpy(object) if column.form else when.to_numpy()
    if column.kind == YES_NO:
        return np.array(column.values, dtype=object)[(values > 0.5).astype(int)]
    return np.rint(values) if column.kind == WHOLE else values


def to_codes(series: Any, column: Column) -> np.ndarray:
    """A category column as places among its values [N]; a missing cell is one behind the last, -1 another value."""
    import pandas

    codes = pandas.Index(column.values).get_indexer(pandas.Index(series))
    return np.where(series.isna().to_numpy(), len(column.values), codes)
