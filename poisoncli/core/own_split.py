"""How a user's own rows are parted: at random, by groups, in time, or as he says."""

from __future__ import annotations

import numpy as np

from poisoncli.core.data import Array, Division, Task
from poisoncli.core.errors import PoisonError
from poisoncli.core.split import Sizes, draw

Parts = tuple[np.ndarray, np.ndarray, np.ndarray]
_FOLDS = 10  # of groups: 6 for training, 1 for validation, 3 for tests
_TRAIN, _VAL, _TEST = range(3)
_FLAGS = ("--n-train", "--n-val", "--n-test")
_PART_NAMES = ("training", "validation", "test")


def part(
    rng: np.random.Generator, y: Array, task: Task, asked: Sizes, division: Division, rows: np.ndarray | None = None
) -> Parts:
    """Training, validation and test rows, as indices of `rows` (all if None), each part shuffled.

    y: targets [N]. asked: sizes; 0 leaves one to the rows that there are, 60, 10 and 30 % of them at random.
    Raises `PoisonError` where there are too few rows, or a part lacks a class.
    """
    y, rows = np.asarray(y), np.arange(len(y)) if rows is None else rows
    if division.parts is not None:
        found = _given(rng, y, task, asked, tuple(np.intersect1d(rows, one) for one in division.parts))  # type: ignore
    elif division.groups is not None:
        found = _by_groups(rng, y[rows], task, division.groups[rows])
        found = tuple(rows[one] for one in found)
    elif division.times is not None:
        found = _in_time(rows[np.argsort(division.times[rows], kind="stable")], asked)
    else:
        found = _at_random(rng, y, task, asked, rows, division.balanced)
    found = tuple(
        _sample(rng, y, task, one, size, flag) for one, size, flag in zip(found, asked, _FLAGS, strict=True)
    )
    if division.balanced:
        found = tuple(_balanced(rng, y, task, one) for one in found)
    _check(y, task, found)
    return tuple(rng.permutation(one) for one in found)  # type: ignore[return-value]


def same_sizes(parts: list[Parts]) -> list[Parts]:
    """The parts of all repetitions, each cut to the size that it has in all of them."""
    sizes = [min(len(one[place]) for one in parts) for place in range(3)]
    return [tuple(one[place][: sizes[place]] for place in range(3)) for one in parts]  # type: ignore[misc]


def _sizes(asked: Sizes, total: int) -> Sizes:
    """Sizes that add up to at most `total`; those not asked for share what is left."""
    n_val = asked[_VAL] or max(1, total // 10)
    n_test = asked[_TEST] or max(1, 3 * total // 10)
    n_train = asked[_TRAIN] or total - n_val - n_test
    if n_train < 1 or n_train + n_val + n_test > total:
        raise PoisonError(
            f"{sum(asked)} rows were asked for, but the data have {total}: let --n-train, --n-val and --n-test add "
            f"up to at most {total}, with some rows in each part"
        )
    return n_train, n_val, n_test


def _at_random(
    rng: np.random.Generator, y: np.ndarray, task: Task, asked: Sizes, rows: np.ndarray, balanced: bool
) -> Parts:
    if balanced and task != "real":
        _, counts = np.unique(y[rows], return_counts=True)
        sizes = _sizes(asked, len(counts) * int(counts.min()))
        return tuple(rows[one] for one in draw(rng, y[rows], task, sizes))  # type: ignore[return-value]
    n_train, n_val, n_test = _sizes(asked, len(rows))
    rest, test = _two(rng, y, task, rows, n_train + n_val, n_test)
    train, val = _two(rng, y, task, rest, n_train, n_val)
    return train, val, test


def _two(
    rng: np.random.Generator, y: np.ndarray, task: Task, rows: np.ndarray, first: int, second: int
) -> tuple[np.ndarray, np.ndarray]:
    """Two parts of the rows, each with the same share of each class (scikit-learn's `train_test_split`)."""
    from sklearn.model_selection import train_test_split

    state, classes = int(rng.integers(2**31)), None if task == "real" else y[rows]
    try:
        one, other = train_test_split(
            rows, train_size=first, test_size=second, stratify=classes, random_state=state
        )
    except ValueError:
        labels, counts = np.unique(y[rows], return_counts=True)
        raise PoisonError(
            f"{len(labels)} classes, the smallest with {counts.min()} rows, cannot have rows in each part: name "
            "larger ones with --classes, or ask for more rows with --n-val and --n-test"
        ) from None
    return np.asarray(one), np.asarray(other)


def _by_groups(rng: np.random.Generator, y: np.ndarray, task: Task, groups: np.ndarray) -> Parts:
    """No group in two parts: tenths of the groups (StratifiedGroupKFold, or GroupKFold for real targets)."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    count = len(np.unique(groups))
    if count < 3:
        raise PoisonError(
            f"--group-column has {count} groups, and each of three parts needs one: name another column"
        )
    folds, state = min(_FOLDS, count), int(rng.integers(2**31))
    if task != "real":  # scikit-learn wants as many rows of some class
        folds = min(folds, int(np.unique(y, return_counts=True)[1].max()))
        if folds < 3:
            raise PoisonError(f"{len(y)} rows are too few to part them by --group-column: give more of each class")
    made = (GroupKFold if task == "real" else StratifiedGroupKFold)(folds, shuffle=True, random_state=state)
    found = [test for _, test in made.split(np.zeros(len(y)), y, groups)]
    tests = max(1, round(0.3 * folds))
    return np.concatenate(found[tests + 1 :]), found[tests], np.concatenate(found[:tests])


def _in_time(ordered: np.ndarray, asked: Sizes) -> Parts:
    """The first rows for training, then those for validation, the last for tests."""
    n_train, n_val, n_test = _sizes(asked, len(ordered))
    rest = len(ordered) - n_test
    return ordered[rest - n_val - n_train : rest - n_val], ordered[rest - n_val : rest], ordered[rest:]


def _given(rng: np.random.Generator, y: np.ndarray, task: Task, asked: Sizes, parts: Parts) -> Parts:
    """The user's own parts; where he has no validation rows, a seventh of the training rows."""
    train, val, test = parts
    if not min(len(train), len(test)):
        raise PoisonError("there are no training rows, or no test rows: give some of each")
    if len(val):
        return train, val, test
    n_val = asked[_VAL] or max(1, len(train) // 7)
    if n_val >= len(train):
        raise PoisonError(f"--n-val {n_val} leaves none of {len(train)} training rows: ask for fewer")
    train, val = _two(rng, y, task, train, len(train) - n_val, n_val)
    return train, val, test


def _sample(
    rng: np.random.Generator, y: np.ndarray, task: Task, rows: np.ndarray, size: int, flag: str
) -> np.ndarray:
    """As many of the rows as were asked for, with the same share of each class; all for 0."""
    if not size or size == len(rows):
        return rows
    if size > len(rows):
        raise PoisonError(
            f"{flag} {size} is more than the {len(rows)} rows of that part: ask for at most {len(rows)}"
        )
    return _two(rng, y, task, rows, size, len(rows) - size)[0]


def _balanced(rng: np.random.Generator, y: np.ndarray, task: Task, rows: np.ndarray) -> np.ndarray:
    """As many rows of each class."""
    if task == "real":
        return rows
    pools = [rng.permutation(rows[y[rows] == label]) for label in np.unique(y)]
    least = min(map(len, pools))
    if max(map(len, pools)) <= least + 1:  # drawn so; one row may be odd
        return rows
    return np.concatenate([pool[:least] for pool in pools])


def _check(y: np.ndarray, task: Task, parts: tuple[np.ndarray, ...]) -> None:
    """Raise `PoisonError` where the training or the test rows lack a class, or a part has no rows."""
    for name, rows, flag in zip(_PART_NAMES, parts, _FLAGS, strict=True):
        if not len(rows):
            raise PoisonError(f"there are no {name} rows: ask for some with {flag}")
        lacking = 0 if task == "real" else len(np.unique(y)) - len(np.unique(y[rows]))
        if lacking and (name == "training" or len(np.unique(y[rows])) < 2):
            raise PoisonError(
                f"the {name} rows lack {lacking} of {len(np.unique(y))} classes: part the rows otherwise, or leave "
                "these classes out with --classes"
            )
