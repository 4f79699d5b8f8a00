"""Which rows are for training, validation and test."""

import dataclasses

import numpy as np
import pytest

from poisoncli import Choice, PoisonError, Run
from poisoncli.runs import description, splits


def rows_of(run):
    run = description.resolve(run)
    data = description.build(run.dataset, "dataset").load()
    return splits.rows_of(run, data, np.arange(len(data.y))), data


def test_each_repetition_draws_its_own_by_the_seed():
    run = Run(repetitions=2, n_train=40, n_val=20, n_test=30)
    rows, data = rows_of(run)
    assert {name: part.shape for name, part in rows.items()} == {"train": (2, 40), "val": (2, 20), "test": (2, 30)}
    for r in range(2):
        assert len(np.unique(np.concatenate([part[r] for part in rows.values()]))) == 90
        assert data.y[rows["train"][r]].mean() == 0.5
    assert not np.array_equal(rows["train"][0], rows["train"][1])
    np.testing.assert_array_equal(rows["train"][:1], rows_of(dataclasses.replace(run, repetitions=1))[0]["train"])
    assert not np.array_equal(rows["train"], rows_of(dataclasses.replace(run, seed=1))[0]["train"])


def test_rows_set_apart_are_not_drawn():
    run = description.resolve(Run(n_train=40, n_val=20, n_test=30))
    data = description.build(run.dataset, "dataset").load()
    others = np.arange(100, len(data.y))
    rows = splits.rows_of(run, data, others)
    assert all(np.isin(part, others).all() for part in rows.values())


def test_the_data_sets_own_parts_stay_apart():
    run = description.resolve(Run(dataset=Choice("digits"), n_train=20, n_val=10, n_test=10))
    data = description.build(run.dataset, "dataset").load()
    count = len(data.y)
    parted = data._replace(parts=(np.arange(count - 50), np.arange(count - 50, count)))
    rows = splits.rows_of(run, parted, np.arange(count))
    assert rows["test"].min() >= count - 50
    assert max(rows["train"].max(), rows["val"].max()) < count - 50
    with pytest.raises(PoisonError, match="50 test rows"):
        splits.rows_of(dataclasses.replace(run, n_test=60), parted, np.arange(count))
