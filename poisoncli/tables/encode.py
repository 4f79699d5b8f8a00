"""From the columns of a user's table to features, and back; fitted on training rows alone."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from poisoncli.core.data import Array, Sparse
from poisoncli.core.domain import Domain
from poisoncli.tables import memory
from poisoncli.tables.schema import (
    CATEGORY,
    DATE,
    NUMERIC,
    TEXT,
    WHOLE,
    YES_NO,
    Column,
    from_numbers,
)
from poisoncli.tables.table import Fitted, Table

MISSING = "(missing)"  # the category of cells without a value, in the names of features
_VALUE = 16  # bytes of an encoded value: as float64 and float32, while rows are taken
_UNSCALED = (YES_NO, CATEGORY, TEXT)
_WHOLE = (WHOLE, YES_NO, CATEGORY, TEXT, DATE)


class Block(NamedTuple):
    """The features of a column: `first` to `last` (not included); `seen`: the codes or words they stand for."""

    column: Column
    first: int
    last: int
    seen: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Encoder:
    """Encodes the rows of a table: m features, the same in every repetition.

    Categories and words are those of any repetition's training rows; one that the training rows of a repetition
    have not is zero there, and so is one that none of them has: unknown.
    """

    table: Table
    fitted: tuple[Fitted, ...]

    @classmethod
    def fit(cls, table: Table, train: np.ndarray) -> Encoder:
        """The one that is fitted on the clean training rows [repetitions, n] of each repetition."""
        return cls(table, tuple(table.fitted(rows) for rows in train))

    @functools.cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The features of each column, in order."""
        found, first = [], 0
        for column in self.table.columns:
            seen: tuple[Any, ...] = ()
            if column.kind == CATEGORY:
                parts = [one.categories[column.name].categories_[0] for one in self.fitted]
                seen = tuple(np.unique(np.concatenate(parts)).tolist())
            elif column.kind == TEXT:
                seen = tuple(sorted(set().union(*(one.counters[column.name].vocabulary_ for one in self.fitted))))
            size = len(seen) if column.kind in (CATEGORY, TEXT) else 1
            found.append(Block(column, first, first + size, seen))
            first += size
        return tuple(found)

    @property
    def m(self) -> int:
        """How many features there are."""
        return self.blocks[-1].last

    @property
    def sparse(self) -> bool:
        """Whether rows are CSR matrices."""
        return self.table.sparse

    @property
    def counts(self) -> bool:
        """Whether all features are counts of words."""
        return all(block.column.kind == TEXT for block in self.blocks)

    @functools.cached_property
    def names(self) -> list[str]:
        """What each feature is called [m]: `age`, `sex=male`, `deck=(missing)`, `subject: free`."""
        found = []
        for block in self.blocks:
            name, values = block.column.name, (*block.column.values, MISSING)
            if block.column.kind == CATEGORY:
                found += [f"{name}={values[code]}" for code in block.seen]
            else:
                found += [f"{name}: {word}" for word in block.seen] or [name]
        return found

    def take(self, rows: np.ndarray, r: int) -> Array:
        """Features [n, m] of the rows [n], in their own units, as repetition r encodes them: float64, or CSR."""
        if not len(rows):  # scikit-learn refuses them
            return sp.csr_matrix((0, self.m), dtype=np.float32) if self.sparse else np.zeros((0, self.m))
        return self._sparse(rows, r) if self.sparse else self._dense(rows, r)

    def _numbers(self, rows: np.ndarray, r: int) -> np.ndarray:
        numbers = self.table.numbers[rows]
        for places, imputer in self.fitted[r].imputers:
            if np.isnan(numbers[:, places]).any():
                numbers[:, places] = imputer.transform(numbers[:, places])
        return numbers

    def _dense(self, rows: np.ndarray, r: int) -> np.ndarray:
        numbers = self._numbers(rows, r)
        if len(self.blocks) == numbers.shape[1]:
            return numbers
        memory.check(_VALUE * len(rows) * self.m, f"the table with its categories as {self.m} features")
        out = np.zeros((len(rows), self.m))
        out[:, self._places] = numbers
        for block in self.blocks:
            if block.column.kind == CATEGORY:
                out[:, block.first : block.last] = self._categories(block, rows, r).toarray()
        return out

    def _sparse(self, rows: np.ndarray, r: int) -> Any:
        numbers, parts = self._numbers(rows, r), []
        column = iter(range(numbers.shape[1]))
        for block in self.blocks:
            if block.column.kind == CATEGORY:
                parts.append(self._categories(block, rows, r))
            elif block.column.kind == TEXT:
                parts.append(self._counts(block, rows, r))
            else:
                parts.append(sp.csr_matrix(numbers[:, [next(column)]], dtype=np.float32))
        x: Any = sp.hstack(parts, format="csr", dtype=np.float32)
        x.sort_indices()
        return x

    @functools.cached_property
    def _places(self) -> np.ndarray:
        """The features that are numbers, in the order of `Table.numbers`."""
        return np.array([block.first for block in self.blocks if block.column.kind in NUMERIC], int)

    def _categories(self, block: Block, rows: np.ndarray, r: int) -> Any:
        own = self.fitted[r].categories[block.column.name]
        found = own.transform(self.table.codes[block.column.name][rows, None])
        return _widened(found, np.searchsorted(block.seen, own.categories_[0]), len(block.seen))

    def _counts(self, block: Block, rows: np.ndarray, r: int) -> Any:
        own = self.fitted[r].counters[block.column.name]
        found = own.transform(self.table.texts[block.column.name][rows])
        if len(own.vocabulary_) == len(block.seen):
            return found
        place = {word: number for number, word in enumerate(block.seen)}
        return _widened(found, np.array([place[word] for word in own.get_feature_names_out()]), len(block.seen))

    def scaler(self, train: np.ndarray) -> dict[str, np.ndarray]:
        """Shift and scale [repetitions, m] of the features, by the clean training rows [repetitions, n].

        Numbers and dates are standardized; with sparse rows they are divided by their largest value, so that zeros
        stay. Answers, categories and counts stay as they are.
        """
        from sklearn.preprocessing import MaxAbsScaler, StandardScaler

        shift, scale = np.zeros((len(train), self.m)), np.ones((len(train), self.m))
        scaled = [block.column.kind not in _UNSCALED for block in self.blocks if block.column.kind in NUMERIC]
        places = self._places[np.array(scaled, bool)]
        for r, rows in enumerate(train):
            if not places.size:
                break
            found: Any = (MaxAbsScaler() if self.sparse else StandardScaler()).fit(
                self._numbers(rows, r)[:, scaled]
            )
            scale[r, places] = found.scale_
            if not self.sparse:
                shift[r, places] = found.mean_
        return {"shift": shift, "scale": scale}

    def domain(self, train: np.ndarray, r: int) -> Domain:
        """What a row could be, by the clean training rows [n] of repetition r, in the features' own units.

        A category that these rows have not is out of reach (`high` is 0).
        """
        x = self.take(train, r)
        low, high = (
            np.asarray(part.toarray() if sp.issparse(part) else part, float).ravel()
            for part in (x.min(0), x.max(0))
        )
        group, column = np.full(self.m, -1), np.empty(self.m, int)
        for number, block in enumerate(self.blocks):
            column[block.first : block.last] = number
            if block.column.kind == CATEGORY:
                group[block.first : block.last] = group.max() + 1
                low[block.first : block.last] = 0
            elif block.column.kind == TEXT:
                low[block.first : block.last] = 0
        return Domain(
            low=low,
            high=high,
            whole=np.array([block.column.kind in _WHOLE for block in self.blocks])[column],
            group=group,
            column=column,
            names=tuple(block.column.name for block in self.blocks),
            move=np.zeros(self.m, int),
        )

    def decode(self, x: Array, r: int) -> dict[str, np.ndarray]:
        """The cells of features [n, m], in their own units, by the names of the columns; texts are lists of words.

        Of the categories that with the largest feature is taken; one that stands for missing cells gives None.
        """
        found = {}
        for block in self.blocks:
            part = x[:, block.first : block.last]
            part = (
                np.asarray(part.toarray() if sp.issparse(part) else part, float)
                if block.column.kind != TEXT
                else part
            )
            if block.column.kind == CATEGORY:
                values = np.empty(len(block.column.values) + 1, object)
                values[:-1] = block.column.values
                found[block.column.name] = values[np.array(block.seen)[part.argmax(1)]]
            elif block.column.kind == TEXT:
                found[block.column.name] = _texts(sp.csr_matrix(part), block.seen)
            else:
                found[block.column.name] = from_numbers(part[:, 0], block.column)
        return found

    def unknown(self, rows: np.ndarray, r: int) -> dict[str, int]:
        """How many of the rows [n] have a category that repetition r never saw in training, by column."""
        found = {
            name: int((~np.isin(codes[rows], self.fitted[r].categories[name].categories_[0])).sum())
            for name, codes in self.table.codes.items()
        }
        return {name: count for name, count in found.items() if count}


def _widened(x: Any, places: np.ndarray, m: int) -> Any:
    """A CSR matrix [n, k] with its columns at `places` (rising) among m."""
    x = sp.csr_matrix(x)
    return sp.csr_matrix((x.data, np.asarray(places)[x.indices], x.indptr), shape=(x.shape[0], m))


def _texts(counts: Any, words: Sequence[str]) -> np.ndarray:
    """Texts with these counts of words [n, words]: each word as often as it counts, in their order."""
    known, found = np.array(words, dtype=object), np.empty(counts.shape[0], object)
    for row in range(counts.shape[0]):
        part = slice(counts.indptr[row], counts.indptr[row + 1])
        times = np.maximum(np.rint(counts.data[part]), 0).astype(int)
        found[row] = " ".join(np.repeat(known[counts.indices[part]], times))
    return found


def scaled(x: Any, shift: np.ndarray, scale: np.ndarray) -> Any:
    """Rows [n, m] less `shift` [m], divided by `scale` [m], in float32; sparse ones have no shift."""
    if not sp.issparse(x):
        return ((x - shift) / scale).astype(np.float32)
    if not np.all(scale == 1):
        x = x @ sp.diags_array(1 / scale)
    return sp.csr_matrix(x, dtype=np.float32)


def stacked(parts: Sequence[Any]) -> Array:
    """Rows of every repetition [repetitions, n, m], or `Sparse`."""
    return Sparse(parts) if sp.issparse(parts[0]) else np.stack(parts)
