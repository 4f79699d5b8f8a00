"""What poison could be real: for each feature the values that the table's schema allows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ANYWHERE, UP, DOWN, NOWHERE = 0, 1, -1, 2
_SAME = 1e-6  # of a column's range: what scaling a value and scaling it back may do to it


class Domain(NamedTuple):
    """The values that a poison row may take; m features, in the data set's own units.

    low, high: range of each feature [m], or [repetitions, m]; a category whose `high` is 0 may not be taken.
    whole: which features are whole numbers [m].
    group: features [m] that encode one category column share a number from 0 and are then 0 or 1, exactly one of
        them 1 (a corner of the simplex); -1 elsewhere. Those of a column are scaled alike.
    column: the column of the user's table [m] that each feature came from, as an index into `names`.
    names: of the user's columns.
    move: where a feature may go from the clean row that the poison row started as [m]: 0 anywhere, 2 nowhere,
        1 up only, -1 down only.
    columns_changed: in how many of the user's columns a poison row may differ from that clean row; 0: in all.
    """

    low: np.ndarray
    high: np.ndarray
    whole: np.ndarray
    group: np.ndarray
    column: np.ndarray
    names: tuple[str, ...]
    move: np.ndarray
    columns_changed: int = 0

    @property
    def relative(self) -> bool:
        """Whether what a row may be depends on the clean row that it started as."""
        return bool(np.any(self.move)) or self.columns_changed > 0

    @property
    def discrete(self) -> bool:
        """Whether some features are whole numbers or categories."""
        return bool(np.any(self.whole) or np.any(self.group >= 0))

    def of(self, repetition: int) -> Domain:
        """The domain of one repetition, whose `low` and `high` are [m]."""
        ends = (np.asarray(end, float) for end in (self.low, self.high))
        low, high = (np.broadcast_to(end[repetition] if end.ndim == 2 else end, self.group.shape) for end in ends)
        return self._replace(low=low, high=high)

    def members(self) -> list[np.ndarray]:
        """The features of each category column."""
        return [np.flatnonzero(self.group == number) for number in range(self.group.max(initial=-1) + 1)]


def plain(low: np.ndarray, high: np.ndarray, m: int, whole: bool, names: tuple[str, ...] = ()) -> Domain:
    """The domain of a table whose columns are all numbers, by default called x0, x1, ..."""
    low, high = (np.broadcast_to(np.asarray(end, float), m) for end in (low, high))
    names = names or tuple(f"x{number}" for number in range(m))
    return Domain(low, high, np.full(m, whole), np.full(m, -1), np.arange(m), names, np.zeros(m, int))


def start(domain: Domain, rows: np.ndarray) -> np.ndarray:
    """Clean rows [n, m] as poison starts from them: within the domain, but for what is frozen, which stays."""
    free = domain._replace(move=np.zeros_like(domain.move), columns_changed=0)
    return np.where(domain.move == NOWHERE, rows, rounded(free, rows))


def rounded(
    domain: Domain, x: np.ndarray, origin: np.ndarray | None = None, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Rows [n, m] that the domain of one repetition allows, near `x` [n, m].

    origin: what `start` gives for the clean rows that they started as, for domains that are `relative`.
    rng: round at random, with mean x where that is in the domain, and not to the nearest.
    """
    x = np.array(x, float)
    if origin is not None:
        x = np.where(np.abs(x - origin) <= _SAME * np.maximum(domain.high - domain.low, 1e-300), origin, x)
    x = np.clip(x, domain.low, domain.high)
    base = np.floor(x) if rng is not None else np.rint(x)
    up = rng.random(x.shape) < x - base if rng is not None else np.zeros(x.shape, bool)
    whole = np.clip(base + up, np.ceil(domain.low), np.floor(domain.high))
    x = np.where(domain.whole & (domain.group < 0), whole, x)
    for places in domain.members():
        x[:, places] = _corner(x[:, places], domain.high[places] > 0, rng)
    return x if origin is None else _limited(domain, x, origin)


def _corner(x: np.ndarray, allowed: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
    """For each row [n, k] the allowed category with the largest value, or one drawn in proportion to the values."""
    score = np.where(allowed, x, -np.inf)
    if rng is not None:  # the largest of log p plus Gumbel noise is a draw from p
        score = np.where(allowed, np.log(np.maximum(x, 1e-12)) + rng.gumbel(size=x.shape), -np.inf)
    return np.eye(x.shape[1])[np.argmax(score, axis=1)]


def _limited(domain: Domain, x: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """`x` moved only where it may be, and in so many of the user's columns only: those that changed most."""
    x = np.where(domain.move == UP, np.maximum(x, origin), x)
    x = np.where(domain.move == DOWN, np.minimum(x, origin), x)
    x = np.where(domain.move == NOWHERE, origin, x)
    if not domain.columns_changed:
        return x
    width = np.where(domain.high > domain.low, domain.high - domain.low, 1)
    size = by_column(domain, ((x - origin) / width) ** 2)
    order = np.argsort(-size, axis=1, kind="stable")[:, : domain.columns_changed]
    kept = np.zeros(size.shape, bool)
    np.put_along_axis(kept, order, True, axis=1)
    return np.where(kept[:, domain.column], x, origin)


def by_column(domain: Domain, values: np.ndarray) -> np.ndarray:
    """The sums [n, columns] of values [n, m] over the features of each of the user's columns."""
    sums = np.zeros((len(domain.names), len(values)))
    np.add.at(sums, domain.column, values.T)
    return sums.T


def impossible(domain: Domain, x: np.ndarray, origin: np.ndarray | None = None) -> np.ndarray:
    """Which of the rows [n, m] the domain of one repetition does not allow [n]; x in float64 and own units."""
    slack = _SAME * np.maximum(domain.high - domain.low, 1e-300)
    fixed = domain.move == NOWHERE
    bad = ((x < domain.low - slack) | (x > domain.high + slack)) & ~fixed
    bad |= domain.whole & (domain.group < 0) & ~fixed & (np.abs(x - np.rint(x)) > slack)
    wrong = bad.any(axis=1)
    for places in domain.members():
        part = x[:, places]
        one = np.abs(part - 1) <= _SAME
        wrong |= ~(one | (np.abs(part) <= _SAME)).all(axis=1) | (one.sum(axis=1) != 1)
    if origin is None or not domain.relative:
        return wrong
    off = x - origin
    wrong |= (fixed & (np.abs(off) > slack)).any(axis=1)
    wrong |= ((domain.move == UP) & (off < -slack)).any(axis=1) | ((domain.move == DOWN) & (off > slack)).any(
        axis=1
    )
    if domain.columns_changed:
        changed = by_column(domain, (np.abs(off) > slack).astype(float)) > 0
        wrong |= changed.sum(axis=1) > domain.columns_changed
    return wrong
