"""Whether exported poison could be real: written on pandas alone, apart from what the product does about it.

python -m tests.realistic EXPORTED.csv MINE.csv TARGET [--frozen A,B] [--only-up A] [--columns-changed K] ...
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

to_numeric: Any = pd.to_numeric


def impossible(
    poison: Any,
    clean: Any,
    train: Any,
    *,
    target: str = "target",
    frozen: Sequence[str] = (),
    only_up: Sequence[str] = (),
    only_down: Sequence[str] = (),
    columns_changed: int = 0,
    ranges: dict[str, tuple[float, float]] | None = None,
) -> list[str]:
    """What is wrong with poison rows, a line for each wrong cell or row.

    poison: exported; clean: the rows of the user's file that they replace, in the same order, None where they are
    added; train: all clean training rows, whose values are what has been seen.
    """
    wrong = []
    names = [name for name in train.columns if name != target]
    for name in names:
        wrong += _cells(
            name, poison[name], None if clean is None else clean[name], train[name], (ranges or {}).get(name)
        )
    if clean is None:
        return wrong
    same = {name: _same(poison[name], clean[name]) for name in names}
    for name in frozen:
        wrong += [f"frozen {name} moved in row {i}" for i in np.flatnonzero(~same[name])]
    for ways, sign in ((only_up, 1), (only_down, -1)):
        for name in ways:
            way = sign * (to_numeric(poison[name]).to_numpy(float) - to_numeric(clean[name]).to_numpy(float))
            wrong += [f"{name} went the wrong way in row {i}" for i in np.flatnonzero(way < 0)]
    if columns_changed:
        count = np.sum([~one for one in same.values()], axis=0)
        wrong += [f"row {i} changed {count[i]} columns" for i in np.flatnonzero(count > columns_changed)]
    return wrong


def _cells(name: str, cells: Any, former: Any, seen: Any, given: tuple[float, float] | None) -> list[str]:
    """Cells that are no category seen, no whole number where all are whole, or beyond the range seen or given."""
    kept = np.zeros(len(cells), bool) if former is None else _same(cells, former)
    dates = pd.to_datetime(seen.astype(str), errors="coerce", format="ISO8601")
    if seen.dtype.kind not in "biuf" and dates.notna().sum() == seen.notna().sum():  # moments: a range of seconds
        cells = pd.to_datetime(cells, format="ISO8601").map(pd.Timestamp.timestamp)
        seen = dates.map(pd.Timestamp.timestamp)
    numbers = to_numeric(seen, errors="coerce")
    if numbers.notna().sum() < seen.notna().sum() or seen.dtype == bool:
        strange = ~cells.isin(seen.dropna()).to_numpy() & ~(cells.isna().to_numpy() & seen.isna().any()) & ~kept
        return [f"{name} = {cells.iloc[i]!r} in row {i} was never seen" for i in np.flatnonzero(strange)]
    found = to_numeric(cells).to_numpy(float)
    low, high = given or (numbers.min(), numbers.max())
    slack = 1e-9 * max(abs(low), abs(high))
    bad = ~((found >= low - slack) & (found <= high + slack)) & ~kept
    if (numbers.dropna() % 1 == 0).all():
        bad |= (found % 1 != 0) & ~kept
    return [f"{name} = {found[i]!r} in row {i} cannot be" for i in np.flatnonzero(bad)]


def _same(one: Any, other: Any) -> np.ndarray:
    """Which cells are equal, missing ones too."""
    one, other = one.reset_index(drop=True), other.reset_index(drop=True)
    first, second = to_numeric(one, errors="coerce"), to_numeric(other, errors="coerce")
    if first.notna().sum() == one.notna().sum() and second.notna().sum() == other.notna().sum():
        return np.isclose(first.to_numpy(float), second.to_numpy(float), rtol=1e-12, atol=0, equal_nan=True)
    return ((one.astype(str) == other.astype(str)) | (one.isna() & other.isna())).to_numpy()


def main() -> int:
    """Print what is wrong with an export; status 1 if anything is."""
    parser = argparse.ArgumentParser()
    parser.add_argument("exported")
    parser.add_argument("mine")
    parser.add_argument("target")
    for name in ("--frozen", "--only-up", "--only-down"):
        parser.add_argument(name, default="")
    parser.add_argument("--columns-changed", type=int, default=0)
    asked = parser.parse_args()
    exported, mine = pd.read_csv(asked.exported), pd.read_csv(asked.mine)
    poison = exported[exported.poison == 1]
    used = [
        name
        for name in mine.columns
        if name in exported.columns and not exported.loc[poison.index, name].isna().all()
    ]
    mine = mine[used]
    replaced = poison.replaced.to_numpy()
    clean = mine.iloc[replaced - 1] if np.all(replaced > 0) else None
    train = mine.iloc[exported.row[exported.row > 0].to_numpy() - 1]
    lists: dict[str, Any] = {
        key: [part for part in getattr(asked, key).split(",") if part] for key in ("frozen", "only_up", "only_down")
    }
    wrong = impossible(poison, clean, train, target=asked.target, columns_changed=asked.columns_changed, **lists)
    print("\n".join(wrong[:20]) or f"{len(poison)} poison rows, none impossible")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
