"""A user's rows before they are encoded, and what the training rows among them tell the encoder.

Missing numbers become the median, missing answers (yes or no) the more frequent one, a missing category is a
category of its own; categories become one feature each, texts counts of words (scikit-learn's transformers).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from poisoncli.core.errors import PoisonError
from poisoncli.tables.schema import CATEGORY, NUMERIC, TEXT, YES_NO, Column, to_codes, to_numbers


@dataclasses.dataclass(frozen=True)
class Words:
    """How texts are counted: the `most` frequent words, and runs of up to `ngrams` words."""

    most: int = 8000
    ngrams: int = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """A user's rows before they are encoded.

    frame: pandas frame of all columns [N], those that are left out and the target among them.
    columns: those that become features, in their order; target: the name of the target's column.
    words: how texts are counted. arrays: whether the features were one array.
    """

    frame: Any
    columns: tuple[Column, ...]
    target: str
    words: Words = Words()
    arrays: bool = False

    @property
    def sparse(self) -> bool:
        """Whether the features are sparse: where there are texts."""
        return any(column.kind == TEXT for column in self.columns)

    @functools.cached_property
    def numbers(self) -> np.ndarray:
        """The columns that become one feature each [N, k], NaN where a cell is missing."""
        columns = [column for column in self.columns if column.kind in NUMERIC]
        out = np.empty((len(self.frame), len(columns)))
        for place, column in enumerate(columns):
            out[:, place] = to_numbers(self.frame[column.name], column)
        return out

    @functools.cached_property
    def codes(self) -> dict[str, np.ndarray]:
        """Each category column as places among its values [N]; behind the last where a cell is missing."""
        return {one.name: to_codes(self.frame[one.name], one) for one in self.columns if one.kind == CATEGORY}

    @functools.cached_property
    def texts(self) -> dict[str, np.ndarray]:
        """Each text column [N]; a missing cell is an empty text."""
        texts = {one.name: self.frame[one.name] for one in self.columns if one.kind == TEXT}
        return {name: text.fillna("").astype(str).to_numpy(object) for name, text in texts.items()}

    def like(self, frame: Any) -> Table:
        """Other rows of the same columns."""
        return dataclasses.replace(self, frame=frame)

    def fitted(self, rows: np.ndarray) -> Fitted:
        """What the training rows [n] tell. Raises `PoisonError` where the texts of a column have no words."""
        return _fit(self, rows)


class Fitted(NamedTuple):
    """What the training rows of one repetition tell.

    imputers: of numbers and of yes/no, with the places of their columns among the numbers.
    categories: of each category column, its one-hot encoder; counters: of each text column, its word counter.
    """

    imputers: tuple[tuple[np.ndarray, Any], ...]
    categories: dict[str, Any]
    counters: dict[str, Any]


def _fit(table: Table, rows: np.ndarray) -> Fitted:
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder

    yes_no = np.array([one.kind == YES_NO for one in table.columns if one.kind in NUMERIC], bool)
    numbers, imputers = table.numbers[rows], []
    for places, strategy in ((np.flatnonzero(~yes_no), "median"), (np.flatnonzero(yes_no), "most_frequent")):
        if places.size:
            imputer = SimpleImputer(strategy=strategy, keep_empty_features=True)
            imputers.append((places, imputer.fit(numbers[:, places])))
    categories = {
        name: OneHotEncoder(handle_unknown="ignore").fit(codes[rows, None]) for name, codes in table.codes.items()
    }
    counters = {}
    for name, texts in table.texts.items():
        counter = CountVectorizer(
            max_features=table.words.most,
            ngram_range=(1, table.words.ngrams),
            dtype=np.float32,  # pyright: ignore[reportArgumentType]
            decode_error="replace",
        )
        try:
            counters[name] = counter.fit(texts[rows])
        except ValueError as error:  # no words at all
            raise PoisonError(f"the texts of column {name!r} have no words: --ignore {name}") from error
    return Fitted(tuple(imputers), categories, counters)


def kinds_of(columns: Sequence[Column]) -> Mapping[str, int]:
    """How many columns there are of each kind."""
    found: dict[str, int] = {}
    for column in columns:
        found[column.kind] = found.get(column.kind, 0) + 1
    return found
