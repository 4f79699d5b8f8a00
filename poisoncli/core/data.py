"""Rows and data sets. Arrays are NumPy or JAX arrays."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

Array = Any  # NumPy or JAX array; shapes stand in the docstrings
Params = Any  # a PyTree; where the first layer is linear one {"w": [out, in], "b": [out]} for each layer, in order
Task = Literal["binary", "multiclass", "real"]


FROM_ZERO = "rows of the data set, from 0"  # how rows are counted where no file of the user's says otherwise


class Data(NamedTuple):
    """Rows: features `x` [..., n, m], targets `y` [..., n] (floats), `weight` [..., n] (1 keeps, 0 drops)."""

    x: Array
    y: Array
    weight: Array


class Split(NamedTuple):
    """Random splits of a data set, one for each repetition (leading axis); all rows are clean."""

    train: Data
    val: Data
    test: Data


class Sparse(list):
    """Rows of every repetition, a CSR matrix [n, m] each: what a dense array [repetitions, n, m] would hold."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(repetitions, n, m)."""
        return (len(self), *self[0].shape)


class Division(NamedTuple):
    """How the rows of a user's own table are parted into training, validation and test rows.

    parts: the numbers of each part's rows, where he says; drawn from the training rows where those for validation
        are none. groups: of each row [N]; no group has rows in two parts. times: of each row [N]; training rows
        come before validation rows, and these before test rows. Otherwise at random, with the same share of each
        class in all parts.
    balanced: each part has as many rows of each class.
    """

    parts: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    groups: np.ndarray | None = None
    times: np.ndarray | None = None
    balanced: bool = False


class Dataset(NamedTuple):
    """A whole data set before it is split.

    x: features [N, m], float32 or float64, within `low` and `high`; None for a `table`.
    y: targets [N], float32 or float64: 0 and 1 (binary), 0 ... c-1 (multiclass) or real numbers.
    low, high: the domain of a feature, as scalars or [m]; an attacker must stay within it.
    task: what the targets are.
    sha256: hash of the data that the features came from (hex), to recognize the same data later.
    integer: whether the features are whole numbers, which binds an attacker too.
    parts: the numbers of the training and of the test rows, where the data come with such a division.
    numbers: of each row [N] in the user's file, or in the data set before `classes` chose some; None: 0 to N - 1.
    counted: how these are counted, in words.
    class_names: what the user calls the classes 0, 1, ...; empty where the targets are real.
    table: a user's rows before they are encoded (`tables.table.Table`), which waits for the training rows.
    division: how a user's own rows are parted; None: balanced, as in the papers, or by `parts`.
    x may also be a SciPy CSR matrix [N, m]: word counts for a linear model.
    """

    x: Array
    y: Array
    low: Array
    high: Array
    task: Task
    sha256: str
    integer: bool = False
    parts: tuple[np.ndarray, np.ndarray] | None = None
    class_names: tuple[str, ...] = ()
    numbers: np.ndarray | None = None
    counted: str = FROM_ZERO
    table: Any = None
    division: Division | None = None

    @property
    def sparse(self) -> bool:
        """Whether the features are, or will be, a CSR matrix."""
        return self.table.sparse if self.table is not None else hasattr(self.x, "indptr")

    @property
    def row_numbers(self) -> np.ndarray:
        """The number [N] by which the user knows each row."""
        return np.arange(len(self.y)) if self.numbers is None else self.numbers
