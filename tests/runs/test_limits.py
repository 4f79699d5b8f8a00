"""What a poison row may be: the limits that a user sets, and what is said where they cannot be kept."""

import numpy as np
import pytest

from poisoncli.core.data import Dataset
from poisoncli.core.domain import Domain
from poisoncli.core.errors import PoisonError
from poisoncli.runs import description, limits, serialize
from poisoncli.runs.description import Choice, Run

X = np.array([[20.0, 1, 1, 0], [30, 2, 0, 1], [40, 3, 1, 0], [99, 9, 0, 1]])
TRAIN = np.array([[0, 1, 2], [0, 1, 3]])


def asked(dates=None, **fields):
    """The domain of rows of age (whole), fare, and port (two categories), with limits; dates: see `limited`."""
    own = Domain(
        low=X.min(0), high=X.max(0), whole=np.array([True, False, False, False]), group=np.array([-1, -1, 0, 0]),
        column=np.array([0, 1, 2, 2]), names=("age", "fare", "port"), move=np.zeros(4, int),
    )  # fmt: skip
    return limits.limited(Run(repetitions=2, **fields), own, X[TRAIN], dates or {})


def test_a_user_names_columns_and_ranges():
    found = asked(frozen=("port",), only_up=("age,fare",), ranges=("age=18:99", "fare=:9.5"))
    assert found.move.tolist() == [1, 1, 2, 2]
    assert found.low[:, :2].tolist() == [[18, 1], [18, 1]]
    assert found.high[:, :2].tolist() == [[99, 9.5], [99, 9.5]]
    assert asked(columns_changed=2).columns_changed == 2


def test_the_range_of_a_date_is_given_by_dates():
    days = asked({"age": 86_400}, ranges=("age=1970-01-11:1970-05-01",))
    assert (days.low[0, 0], days.high[0, 0]) == (10, 120)
    assert asked({"age": 86_400}, ranges=("age=10:120",)).high[0, 0] == 120
    assert asked({"age": 1}, ranges=("age=:1970-01-02T10+09",)).high[0, 0] == 90_000  # 1 a.m. UTC
    for text in ("soon", "nan", "inf", "1e12", "-1e300", "0000-00-00"):
        with pytest.raises(PoisonError, match="an end that is no date: write age=2020-01-31:"):
            asked({"age": 86_400}, ranges=(f"age={text}:",))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"frozen": ("prot",)}, "--frozen names 'prot', which is no feature column: choose one such as port"),
        ({"only_up": ("port",)}, "column 'port' has categories"),
        ({"only_up": ("age",), "frozen": ("age",)}, "column 'age' is given to --frozen and --only-up"),
        ({"ranges": ("age",)}, "--range age is no range"),
        ({"ranges": ("age=a:9",)}, "has an end that is no number"),
        ({"ranges": ("age=18.2:18.8",)}, "holds no value"),
        ({"ranges": ("port=0:1",)}, "has categories and no range"),
        ({"ranges": ("age=25:50",), "frozen": ("age",)}, "leaves out training rows"),
        ({"ranges": ("age=25:50",), "columns_changed": 1}, "leaves out training rows"),
    ],
)
def test_limits_that_cannot_be_kept_are_told_in_a_sentence(fields, said):
    with pytest.raises(PoisonError, match=said):
        asked(**fields)


@pytest.mark.parametrize(
    ("method", "fields", "said"),
    [
        ("kkt", {"frozen": ("age",)}, "attack kkt adds rows that start from none of yours, so that --frozen"),
        ("influence", {"columns_changed": 2}, "so that --columns-changed"),
        ("flip", {"ranges": ("age=1:2",)}, "changes no feature"),
        ("rmd", {"columns_changed": -1}, r"-1 is outside \[0"),
    ],
)
def test_attacks_refuse_limits_that_they_cannot_keep(method, fields, said):
    with pytest.raises(PoisonError, match=said):
        description.resolve(Run(attack=Choice(method), **fields))


def test_limits_stand_in_the_description_of_a_run_that_has_them_alone():
    run = description.resolve(Run(frozen=("x1",), ranges=("x2=0:3",), columns_changed=2))
    assert serialize.from_json(serialize.to_json(run)) == run
    assert "frozen" not in serialize.to_json(description.resolve(Run()))


def test_data_without_a_schema_have_a_domain_only_where_limits_are_set():
    bare = Dataset(X, np.array([0.0, 1, 0, 1]), X.min(0), X.max(0), "binary", "")
    assert limits.domain_of(Run(), bare, TRAIN) is None
    found = limits.domain_of(Run(frozen=("x1",), repetitions=2), bare, TRAIN)
    assert found is not None
    assert found.names == ("x0", "x1", "x2", "x3")
    assert found.move.tolist() == [0, 2, 0, 0]
