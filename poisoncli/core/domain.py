"""What poison could be real: for each feature the values that the table's schema allows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Domain(NamedTuple):
    """The values that a poison row may take; m features, in the data set's own units.

    low, high: range of each feature [m].
    whole: which features are whole numbers [m].
    group: features [m] that encode one category column share a number from 0 and are then 0 or 1, exactly one of
        them 1 (a corner of the simplex); -1 elsewhere.
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
