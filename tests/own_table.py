"""A table as people have it: numbers, categories, dates, texts, identifiers and missing cells."""

import numpy as np
import pandas as pd

FRAME = pd.DataFrame(
    {
        "id": np.arange(1, 61),
        "age": [None, 31.5, 22.25] * 20,
        "children": [0, 1, 2, 3] * 15,
        "vip": ["yes", "no"] * 30,
        "city": ["Rome", "Bonn", None, "Oslo", "Rome"] * 12,
        "since": ["2020-01-31", "2021-12-01", "2019-06-15"] * 20,
        "note": [f"a note of some words about case {i} here" for i in range(60)],
        "code": [f"A{i}" for i in range(60)],
        "empty": [None] * 60,
        "y": [0, 1, 1] * 20,
    }
)

KINDS = {
    "id": "identifier", "age": "number", "children": "whole number", "vip": "yes/no", "city": "category",
    "since": "date", "note": "text", "code": "identifier", "empty": "empty",
}  # fmt: skip
