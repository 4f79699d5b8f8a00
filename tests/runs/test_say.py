"""What is said of a user's rows: how they are parted and encoded, and which stand on both sides."""

import numpy as np
import pytest
from own_table import FRAME

from poisoncli.datasets.file import File
from poisoncli.runs import say
from poisoncli.tables.encode import Encoder


@pytest.fixture
def data(tmp_path):
    FRAME.to_csv(tmp_path / "rows.csv", index=False)
    return File(str(tmp_path / "rows.csv"), ignore=("note", "age", "since")).load()


def test_parts_are_told_with_their_classes(data):
    rows = {"train": np.arange(30)[None], "val": np.zeros((1, 0), int), "test": np.arange(30, 50)[None]}
    text = say.parted(data, rows)
    assert text.startswith("60 rows: 30 for training (10 0, 20 1), 0 for validation")
    assert "20 for tests (7 0, 13 1)" in text
    assert text.endswith("; 10 are left out")


def test_columns_are_told_by_kind(data):
    encoder = Encoder.fit(data.table, np.arange(60)[None])
    text = say.encoded(encoder)
    assert text == (
        "columns (1 whole number, 1 yes/no, 1 category) became "
        f"{encoder.m} features; 12 missing cells imputed; numbers standardized by the training rows"
    )


def test_test_rows_that_stand_among_the_training_rows_are_counted(data):
    encoder = Encoder.fit(data.table, np.arange(60)[None])
    train, test = np.arange(0, 30), np.arange(30, 60)
    names = ["children", "vip", "city", "y"]
    known = {tuple(map(str, FRAME.loc[row, names])) for row in train}
    expected = sum(tuple(map(str, FRAME.loc[row, names])) in known for row in test)
    assert 0 < expected <= 30
    assert say.repeated(encoder, data.y, train, test) == expected
    assert say.repeated(encoder, data.y, train, test[:0]) == 0


def test_categories_that_training_never_saw_are_told(data, caplog):
    cities = np.asarray(FRAME["city"], object)
    train, test = np.flatnonzero(cities != "Oslo")[None], np.flatnonzero(cities == "Oslo")[None]
    encoder = Encoder.fit(data.table, train)
    say.what_was_done(data, {"train": train, "val": test, "test": test}, encoder)
    assert "test rows have categories that no training row has, in city (12): they count as unknown" in caplog.text


def test_mini_batches_too_small_to_hold_a_rare_class_are_told(data, caplog):
    rare = data._replace(y=(np.arange(60) < 2).astype(float), class_names=("fine", "fraud"))
    say.small_batches(rare, np.arange(60), 0)
    say.small_batches(rare._replace(task="real"), np.arange(60), 5)
    say.small_batches(data, np.arange(60), 30)
    assert not caplog.text
    say.small_batches(rare, np.arange(60), 5)
    assert "of 12 mini-batches hold no row of class fraud: raise -o trainer.size" in caplog.text
    found = [int(word) for word in caplog.text.split() if word.isdigit()]
    assert found[0] in (10, 11)
