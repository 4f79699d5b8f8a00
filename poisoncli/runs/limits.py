"""What a poison row of a run may be: the schema of its data, and the limits that the user sets."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import scipy.sparse as sp

from poisoncli.core.data import Dataset
from poisoncli.core.domain import DOWN, NOWHERE, UP, Domain, plain
from poisoncli.core.errors import PoisonError
from poisoncli.runs.description import RELATIVE, Run
from poisoncli.tables.encode import Encoder
from poisoncli.tables.schema import DATE

_MOVES = {"frozen": NOWHERE, "only_up": UP, "only_down": DOWN}


def domain_of(run: Run, dataset: Dataset, train: np.ndarray, encoder: Encoder | None = None) -> Domain | None:
    """The domain of each repetition, by its clean training rows [repetitions, n] and the run's limits.

    encoder: of a user's table.
    None for data without a schema, such as images, where the run sets no limits. Raises `PoisonError` for a column
    that is not there, or limits that contradict.
    """
    asked = any(getattr(run, name) for name in (*RELATIVE, "ranges"))
    if encoder is not None:
        each = [encoder.domain(rows, r) for r, rows in enumerate(train)]
        found = each[0]._replace(**{end: np.stack([getattr(one, end) for one in each]) for end in ("low", "high")})
        if not asked:
            return found
        taken = [encoder.take(rows, r) for r, rows in enumerate(train)]
        dates = {block.column.name: block.column.unit for block in encoder.blocks if block.column.kind == DATE}
        return limited(run, found, None if encoder.sparse else np.stack(taken), dates)
    if not asked:
        return None
    if sp.issparse(dataset.x):
        raise PoisonError("--frozen, --range and the like are for tables: leave them out for word counts")
    found = plain(dataset.low, dataset.high, dataset.x.shape[1], dataset.integer)
    return limited(run, found, dataset.x[train])


def limited(
    run: Run, found: Domain, seen: np.ndarray | None, dates: Mapping[str, int] = MappingProxyType({})
) -> Domain:
    """`found` with the limits of a run; seen: its clean training rows [repetitions, n, m], or None if sparse.

    dates: of columns of dates, the seconds of a step.
    """
    move, told = np.array(found.move), {}
    for field, way in _MOVES.items():
        for name in columns(getattr(run, field), found.names, field):
            if told.setdefault(name, field) != field:
                flags = " and ".join(f"--{one.replace('_', '-')}" for one in (told[name], field))
                raise PoisonError(f"column {name!r} is given to {flags}: give it to one of them")
            places = found.column == found.names.index(name)
            if way != NOWHERE and np.any(found.group[places] >= 0):
                raise PoisonError(
                    f"column {name!r} has categories, which go neither up nor down: use --frozen {name}"
                )
            move[places] = way
    shape = (run.repetitions, len(move))
    low, high = (np.broadcast_to(end, shape).copy() for end in (found.low, found.high))
    for text in run.ranges:
        name, least, most = _range(text, found, dates)
        places = np.flatnonzero(found.column == found.names.index(name))
        low[:, places] = np.where(np.isnan(least), low[:, places], least)
        high[:, places] = np.where(np.isnan(most), high[:, places], most)
        _check_range(text, name, found, low[:, places], high[:, places])
        held = np.any(move[places] != 0) or run.columns_changed
        if held and seen is not None and _outside(seen[:, :, places], low[:, None, places], high[:, None, places]):
            flag = "--columns-changed" if run.columns_changed else f"--{told[name].replace('_', '-')}"
            raise PoisonError(
                f"--range {text} leaves out training rows, and with {flag} poison may keep their {name}: widen the "
                f"range, or leave {flag} out"
            )
    return found._replace(low=low, high=high, move=move, columns_changed=run.columns_changed)


def _outside(seen: np.ndarray, low: np.ndarray, high: np.ndarray) -> bool:
    """Whether some row is below or above a range."""
    return bool(np.any((seen < low) | (seen > high)))


def columns(given: Sequence[str], names: Sequence[str], field: str) -> list[str]:
    """The columns that a user names, one by one or with commas. Raises `PoisonError` for one that is not there."""
    found = [part for text in given for part in ([text] if text in names else text.split(","))]
    return [known(name.strip(), names, f"--{field.replace('_', '-')}") for name in found if name.strip()]


def known(name: str, names: Sequence[str], flag: str) -> str:
    """`name`, if it is among the names of columns; else a `PoisonError` that offers near ones."""
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or list(names[:9])
    raise PoisonError(f"{flag} names {name!r}, which is no feature column: choose one such as {', '.join(near)}")


def _range(text: str, found: Domain, dates: Mapping[str, int]) -> tuple[str, float, float]:
    """The column and the two ends that `--range` names; NaN for an end that it leaves open.

    Ends of a date are dates, or its numbers: days since 1970, or seconds.
    """
    name, equals, ends = text.rpartition("=")
    least, colon, most = ends.partition(":")
    if not equals or not colon:
        raise PoisonError(f"--range {text} is no range: write a column and its ends, such as age=18:99")
    known(name, found.names, "--range")
    try:
        values = [_end(end.strip(), dates.get(name)) for end in (least, most)]
    except ValueError:
        if name in dates:
            raise PoisonError(
                f"--range {text} has an end that is no date: write {name}=2020-01-31: or {name}=:2024-12-31"
            ) from None
        raise PoisonError(
            f"--range {text} has an end that is no number: write age=18:99, age=18: or age=:99"
        ) from None
    return name, values[0], values[1]


def _end(text: str, unit: int | None) -> float:
    """An end of a range; NaN where it is left open. Raises `ValueError` for what is no number, or no date."""
    if not text:
        return math.nan
    if unit is None:
        return float(text)
    import pandas

    try:
        when = pandas.Timestamp(float(text) * unit, unit="s")
    except (ValueError, OverflowError):
        when = pandas.Timestamp(text)
    when = when.tz_convert(None) if when.tzinfo else when
    if not pandas.Timestamp.min <= when <= pandas.Timestamp.max:
        raise ValueError(text)
    return (when - pandas.Timestamp(0)).total_seconds() / unit


def _check_range(text: str, name: str, found: Domain, low: np.ndarray, high: np.ndarray) -> None:
    """Raise `PoisonError` for a range that holds no value of its column."""
    places = found.column == found.names.index(name)
    if np.any(found.group[places] >= 0):
        raise PoisonError(
            f"column {name!r} has categories and no range: leave --range {text} out, or use --frozen {name}"
        )
    least, most = (np.ceil(low), np.floor(high)) if found.whole[places].any() else (low, high)
    if not np.all((least <= most) & np.isfinite(least) & np.isfinite(most)):
        raise PoisonError(f"--range {text} holds no value: its first end must not be above its second")
