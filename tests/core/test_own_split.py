"""How a user's own rows are parted."""

import numpy as np
import pytest

from poisoncli.core.data import Division
from poisoncli.core.errors import PoisonError
from poisoncli.core.own_split import part, same_sizes

Y = np.repeat([0.0, 1.0], [980, 20])
RNG = np.random.default_rng


def test_at_random_all_rows_are_used_and_the_classes_keep_their_shares():
    parts = part(RNG(0), Y, "binary", (0, 0, 0), Division())
    assert [len(one) for one in parts] == [600, 100, 300]
    assert [int(Y[one].sum()) for one in parts] == [12, 2, 6]
    assert len(np.unique(np.concatenate(parts))) == 1000


def test_balance_takes_as_many_of_each_class():
    parts = part(RNG(0), Y, "binary", (0, 0, 0), Division(balanced=True))
    assert [len(one) for one in parts] == [24, 4, 12]
    assert [int(Y[one].sum()) for one in parts] == [12, 2, 6]


def test_no_group_stands_in_two_parts():
    groups = np.arange(1000) % 50
    parts = same_sizes([part(RNG(seed), Y, "binary", (0, 0, 0), Division(groups=groups)) for seed in range(3)])
    assert len({tuple(map(len, one)) for one in parts}) == 1
    for one in parts:
        train, val, test = (set(groups[rows]) for rows in one)
        assert train.isdisjoint(val | test)
        assert val.isdisjoint(test)


def test_training_rows_come_first_in_time():
    times = RNG(0).permutation(1000)
    y = np.arange(1000) % 2.0
    train, val, test = (times[rows] for rows in part(RNG(0), y, "binary", (0, 0, 0), Division(times=times)))
    assert train.max() < val.min() <= val.max() < test.min()


def test_the_users_parts_stay_and_validation_rows_come_from_training_rows():
    rows = np.arange(1000)
    given = (rows[::2], rows[:0], rows[1::2])
    train, val, test = part(RNG(0), Y, "binary", (0, 0, 0), Division(parts=given))
    assert sorted(test) == given[2].tolist()
    assert sorted([*train, *val]) == given[0].tolist()


def test_few_rows_in_many_groups_are_parted_in_fewer_folds():
    y = np.arange(14) % 2
    parts = part(RNG(0), y, "binary", (0, 0, 0), Division(groups=np.arange(14)))
    assert sorted(np.concatenate(parts)) == list(range(14))
    with pytest.raises(PoisonError, match="4 rows are too few"):
        part(RNG(0), y[:4], "binary", (0, 0, 0), Division(groups=np.arange(4)))


@pytest.mark.parametrize(
    ("division", "asked", "cure"),
    [
        (Division(), (900, 200, 100), "add up to at most 1000"),
        (Division(), (0, 1, 0), "name larger ones with --classes"),
        (
            Division(parts=(np.arange(500), np.arange(500, 600), np.arange(600, 1000))),
            (0, 0, 0),
            "training rows lack",
        ),
        (Division(groups=np.arange(1000) % 2), (0, 0, 0), "2 groups"),
        (Division(times=np.arange(1000)), (0, 0, 0), "training rows lack 1 of 2 classes"),
    ],
)
def test_what_cannot_be_parted_is_refused(division, asked, cure):
    with pytest.raises(PoisonError, match=cure):
        part(RNG(0), Y, "binary", asked, division)
