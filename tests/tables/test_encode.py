"""What the columns of a table are, and how they are encoded."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from poisoncli.core.errors import PoisonError
from poisoncli.core.own_split import part
from poisoncli.datasets.file import File

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


@pytest.fixture
def path(tmp_path):
    FRAME.to_csv(tmp_path / "rows.csv", index=False)
    return str(tmp_path / "rows.csv")


def test_kinds_follow_from_the_cells(path):
    found = File(path).inspect()
    assert {column.name: column.kind for column in found.columns} == KINDS
    assert found.used == ("age", "children", "vip", "city", "since", "note")
    assert {column.name: column.missing for column in found.columns}["city"] == 12
    assert found.problems == []


def test_kinds_can_be_said(path):
    said = ("children=category", "code=category", "vip=category")
    found = File(path, column=said, ignore=("note", "since")).inspect()
    kinds = {column.name: column.kind for column in found.columns if column.name in found.used}
    assert kinds == {
        "age": "number",
        "children": "category",
        "vip": "category",
        "city": "category",
        "code": "category",
    }


def test_all_problems_are_told_at_once(tmp_path):
    frame = FRAME.assign(age=["?", "old", *FRAME["age"][2:]], inf=[np.inf, *range(59)])
    frame.to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(PoisonError) as error:
        File(str(tmp_path / "bad.csv"), "yy", column=("citi=category",), ignore=("nope",)).load()
    text = str(error.value)
    assert "has 5 problems" in text
    assert "no column 'yy': --target could be 'y'" in text
    assert "no column 'citi': --column could be 'city'" in text
    assert "no column 'nope': --ignore could be 'note'" in text
    assert "'age' is a number but for 1 cells, the first 'old' in data row 2" in text
    assert "'inf' is infinite or too large for float32 in data row 1" in text


def test_rows_are_encoded_as_scikit_learn_does(path):
    """Imputed, one-hot, standardized, all fitted on the training rows alone."""
    data = File(path, ignore=("note",)).load()
    train, _, test = part(np.random.default_rng(0), data.y, data.task, (0, 0, 0), data.division)
    encoder = data.table.fit(train[None])
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
    encoder = data.table.fit(trains)
    first, second = (encoder.take(np.arange(60), r) for r in (0, 1))
    assert first.shape == second.shape
    column = encoder.names.index("code=A50")
    assert (first[50, column], second[50, column]) == (0, 1)
    assert encoder.unknown(np.arange(60), 0) == {"code": 20}
    assert encoder.domain(trains[0], 0).high[column] == 0


def test_features_are_decoded_to_the_cells(path):
    data = File(path, ignore=("note",)).load()
    rows = np.arange(60)
    encoder = data.table.fit(rows[None])
    cells = encoder.decode(encoder.take(rows, 0), 0)
    for name in ("children", "vip", "city", "since"):
        assert [None if pd.isna(one) else one for one in FRAME[name]] == cells[name].tolist()


def test_texts_are_counted_sparse_and_whole(path):
    data = File(path, ignore=("age", "children", "vip", "city", "since"), words=5).load()
    assert data.sparse
    encoder = data.table.fit(np.arange(60)[None])
    x = encoder.take(np.arange(60), 0)
    assert (x.shape, encoder.counts) == ((60, 5), True)
    assert np.all(x.data % 1 == 0)


def test_a_folder_of_texts(tmp_path):
    for name, words in (("ham", "hello dear friend"), ("spam", "buy buy now")):
        (tmp_path / "mails" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "mails" / name / f"{number}.txt").write_text(words)
    data = File(str(tmp_path / "mails")).load()
    assert (data.class_names, data.y.tolist()) == (("ham", "spam"), [0, 0, 0, 1, 1, 1])
    encoder = data.table.fit(np.arange(6)[None])
    assert encoder.names == ["text: buy", "text: dear", "text: friend", "text: hello", "text: now"]
    np.testing.assert_array_equal(encoder.take(np.array([5]), 0).toarray(), [[2, 0, 0, 0, 1]])


@pytest.mark.parametrize("form", ["semicolons", "tabs", "gzip", "BOM", "CRLF"])
def test_csv_as_people_have_it(tmp_path, form):
    frame = FRAME[["age", "children", "y"]]
    path = tmp_path / ("rows.csv.gz" if form == "gzip" else "rows.csv")
    written = {
        "sep": {"semicolons": ";", "tabs": "\t"}.get(form, ","),
        "decimal": "," if form == "semicolons" else ".",
    }
    encoding = "utf-8-sig" if form == "BOM" else "utf-8"
    frame.to_csv(path, index=False, encoding=encoding, lineterminator="\r\n" if form == "CRLF" else "\n", **written)
    found = File(str(path)).load().table.frame
    pd.testing.assert_frame_equal(found, frame)
