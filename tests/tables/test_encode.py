"""What the columns of a table are, and how they are encoded."""

import numpy as np
import pandas as pd
import pytest
from own_table import FRAME
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from poisoncli.core.own_split import part
from poisoncli.datasets.file import File
from poisoncli.tables.encode import Encoder


@pytest.fixture
def path(tmp_path):
    FRAME.to_csv(tmp_path / "rows.csv", index=False)
    return str(tmp_path / "rows.csv")


def test_rows_are_encoded_as_scikit_learn_does(path):
    """Imputed, one-hot, standardized, all fitted on the training rows alone."""
    data = File(path, ignore=("note",)).load()
    train, _, test = part(np.random.default_rng(0), data.y, data.task, (0, 0, 0), data.division)
    encoder = Encoder.fit(data.table, train[None])
    scaler = encoder.scaler(train[None])
    found = (encoder.take(test, 0) - scaler["shift"][0]) / scaler["scale"][0]
    frame = FRAME.assign(
        since=pd.to_datetime(FRAME["since"]).astype("int64") / 1e9,
        vip=FRAME["vip"] == "yes",
        city=FRAME["city"].fillna("~"),
    )
    numbers = ["age", "children", "since"]
    known = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (OneHotEncoder(sparse_output=False), ["city"]),
        ("passthrough", ["vip"]),
    ).fit(frame.iloc[train])
    order = ["age", "children", "since", "city=Bonn", "city=Oslo", "city=Rome", "city=(missing)", "vip"]
    expected = known.transform(frame.iloc[test]).astype(float)
    np.testing.assert_allclose(found[:, [encoder.names.index(name) for name in order]], expected, atol=1e-6)


def test_repetitions_share_their_features_and_not_what_they_know(path):
    data = File(path, ignore=("note",), column=("code=category",)).load()
    trains = np.array([np.arange(0, 40), np.arange(20, 60)])
    encoder = Encoder.fit(data.table, trains)
    first, second = (encoder.take(np.arange(60), r) for r in (0, 1))
    assert first.shape == second.shape
    column = encoder.names.index("code=A50")
    assert (first[50, column], second[50, column]) == (0, 1)
    assert encoder.unknown(np.arange(60), 0) == {"code": 20}
    assert encoder.domain(trains[0], 0).high[column] == 0


def test_features_are_decoded_to_the_cells(path):
    data = File(path, ignore=("note",)).load()
    rows = np.arange(60)
    encoder = Encoder.fit(data.table, rows[None])
    cells = encoder.decode(encoder.take(rows, 0), 0)
    for name in ("children", "vip", "city", "since"):
        assert [None if pd.isna(one) else one for one in FRAME[name]] == cells[name].tolist()


def test_texts_are_counted_sparse_and_whole(path):
    data = File(path, ignore=("age", "children", "vip", "city", "since"), words=5).load()
    assert data.sparse
    encoder = Encoder.fit(data.table, np.arange(60)[None])
    x = encoder.take(np.arange(60), 0)
    assert (x.shape, encoder.counts) == ((60, 5), True)
    assert np.all(x.data % 1 == 0)
