"""A user's rows before they are encoded."""

import numpy as np
import pytest
from own_table import FRAME

from poisoncli import PoisonError
from poisoncli.datasets.file import File
from poisoncli.tables.schema import CATEGORY
from poisoncli.tables.table import kinds_of


@pytest.fixture
def table(tmp_path):
    FRAME.to_csv(tmp_path / "rows.csv", index=False)
    return File(str(tmp_path / "rows.csv")).load().table


def test_cells_become_numbers_codes_and_texts(table):
    assert table.sparse
    numeric = [one.name for one in table.columns if one.name in ("age", "children", "vip", "since")]
    np.testing.assert_array_equal(np.isnan(table.numbers[:, numeric.index("age")]), FRAME["age"].isna())
    np.testing.assert_array_equal(table.numbers[:, numeric.index("vip")], FRAME["vip"] == "yes")
    city = next(one for one in table.columns if one.name == "city")
    assert city.kind == CATEGORY
    np.testing.assert_array_equal(table.codes["city"] == table.codes["city"].max(), FRAME["city"].isna())
    assert table.texts["note"].tolist() == FRAME["note"].tolist()
    assert kinds_of(table.columns)[CATEGORY] == 1


def test_what_the_training_rows_tell(table):
    rows = np.arange(3, 9)
    told = table.fitted(rows)
    (places, numbers), (_, answers) = told.imputers
    ages = FRAME["age"].iloc[rows].median()
    assert numbers.statistics_[0] == ages
    assert len(places) + len(answers.statistics_) == table.numbers.shape[1]
    assert set(told.counters["note"].vocabulary_) >= {"note", "case", "3"} - {"3"}
    assert "59" not in told.counters["note"].vocabulary_
    assert "58" not in told.counters["note"].vocabulary_


def test_texts_without_words_are_refused(table):
    empty = table.like(FRAME.assign(note="."))
    with pytest.raises(PoisonError, match="--ignore note"):
        empty.fitted(np.arange(10))
