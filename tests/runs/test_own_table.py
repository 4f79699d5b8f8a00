"""A table with categories, dates, missing cells and an identifier, through attack, evaluation, export and back."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import poisoncli
from poisoncli import Choice, PoisonError, Run
from poisoncli.datasets.file import File
from poisoncli.runs import replay, serialize
from poisoncli.runs.description import resolve
from poisoncli.runs.prepare import prepare, restore

NUMBERS, CATEGORIES = ["age", "children", "since"], ["city", "deck"]


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    n = 300
    table = pd.DataFrame(
        {
            "id": np.arange(1, n + 1),
            "age": np.where(rng.random(n) < 0.1, np.nan, rng.normal(40, 12, n).round(1)),
            "children": rng.integers(0, 5, n),
            "vip": rng.choice(["no", "yes"], n),
            "city": rng.choice(["Rome", "Bonn", "Oslo"], n),
            "deck": rng.choice(["A", "B", None], n),
            "since": pd.Timestamp("2020-01-31") + pd.to_timedelta(rng.integers(0, 900, n), unit="D"),
        }
    )
    table["since"] = table["since"].dt.strftime("%Y-%m-%d")
    score = table["children"] - 2.0 * (table["city"] == "Rome") + (table["vip"] == "yes") + rng.normal(size=n)
    table["bought"] = np.where(score > 2.4, "yes", "no")
    table["kind"] = pd.cut(score, [-99, 0, 2, 99], labels=["low", "middle", "high"]).astype(str)
    table["spent"] = (10 * score + 100).round(2)
    return table


def attacked(frame, tmp_path, target, **fields):
    path = tmp_path / "rows.csv"
    others = [name for name in ("bought", "kind", "spent") if name != target]
    frame.drop(columns=others).to_csv(path, index=False)
    data = Choice("file", {"path": str(path), "target": target})
    fields = {"attack": Choice("flip"), "lambda_": 0.01, "fraction": 0.1, **fields}
    return poisoncli.attack(Run(dataset=data, **fields), tmp_path / "run.h5", force=True)


def by_hand(frame, train):
    """Scikit-learn's encoding, fitted on the training rows."""
    known = frame.assign(
        since=pd.to_datetime(frame["since"]).astype("int64") / 1e9,
        vip=frame["vip"] == "yes",
        deck=frame["deck"].fillna("?"),
    )
    encoder = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), NUMBERS),
        (OneHotEncoder(handle_unknown="ignore"), CATEGORIES),
        ("passthrough", ["vip"]),
    )
    return encoder.fit(known.iloc[train]).transform(known).astype(float)


@pytest.mark.sampled
@pytest.mark.parametrize("lambda_", [None, 0.01])
@pytest.mark.parametrize("target", ["bought", "kind"])
def test_the_clean_figures_are_those_of_scikit_learn(frame, tmp_path, target, lambda_):
    content = poisoncli.evaluate(attacked(frame, tmp_path, target, n_test=120, lambda_=lambda_))
    train, test = content.split["train"][0], content.split["test"][0]
    x, y = by_hand(frame, train), frame[target].to_numpy()
    strength = 1 / (lambda_ * len(train)) if lambda_ else np.inf
    known = LogisticRegression(C=strength, max_iter=10_000).fit(x[train], y[train])
    row = poisoncli.rows(content)[0]
    found = row["test_error"]
    assert found == pytest.approx(1 - known.score(x[test], y[test]), abs=1e-6)
    assert row["log_loss"] == pytest.approx(log_loss(y[test], known.predict_proba(x[test])), rel=1e-3)
    assert 0.03 < found < 0.4
    shares = [np.mean(y[rows] == y[0]) for rows in (train, test)]
    assert shares[0] == pytest.approx(shares[1], abs=0.01)


@pytest.mark.parametrize("lambda_", [None, 0.01])
def test_the_clean_nmse_is_that_of_scikit_learn(frame, tmp_path, lambda_):
    content = poisoncli.evaluate(attacked(frame, tmp_path, "spent", lambda_=lambda_))
    train, test = content.split["train"][0], content.split["test"][0]
    x, y = by_hand(frame, train), frame["spent"].to_numpy()
    scaled = (y - y[train].mean()) / y[train].std()
    known = (Ridge(alpha=lambda_ * len(train)) if lambda_ else LinearRegression()).fit(x[train], scaled[train])
    wrong = np.mean((known.predict(x[test]) - scaled[test]) ** 2)
    expected = wrong / np.mean(scaled[test] ** 2)
    assert poisoncli.rows(content)[0]["test_error"] == pytest.approx(expected, rel=1e-4)


def test_what_the_user_says_of_the_training_is_done_and_a_network_has_no_optimum(frame, tmp_path):
    """Nor has an l1 penalty one that is solved for; and the papers' data sets are trained as ever."""

    def solved(**fields):
        return serialize.from_json(poisoncli.read(attacked(frame, tmp_path, "bought", **fields)).run).at_optimum

    assert solved()
    assert not solved(trainer=Choice("momentum", {"epochs": 30}))
    assert not solved(model=Choice("mlp"))
    assert not solved(reg="l1")
    run = prepare(resolve(Run(attack=Choice("flip")))).run
    assert not run.at_optimum
    assert "at_optimum" not in serialize.to_json(run)
    with pytest.raises(PoisonError, match="at_optimum is not for model mlp"):
        attacked(frame, tmp_path, "bought", model=Choice("mlp"), at_optimum=True)


def test_classes_that_separate_have_no_optimum_without_a_penalty_which_is_said(frame, tmp_path, caplog):
    caplog.set_level("INFO", "poisoncli")
    apart = frame.assign(bought=np.where(frame["children"] > 2, "yes", "no"))
    attacked(apart, tmp_path, "bought")
    assert "at its optimum" in caplog.text
    assert "separate" not in caplog.text
    attacked(apart, tmp_path, "bought", lambda_=None)
    assert "the classes of the clean rows separate" in caplog.text


@pytest.mark.long
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("target", ["bought", "kind", "spent"])
def test_an_export_has_the_columns_of_the_table_and_is_read_as_the_same(frame, tmp_path, target, suffix):
    method = "stealthy" if target == "spent" else "rmd"
    attack = Choice(method, {"outer_steps": 3, "inner_steps": 5, "batch": 10})
    model = Choice("linear" if target == "spent" else "logistic")
    content = poisoncli.read(attacked(frame, tmp_path, target, attack=attack, model=model))
    out = poisoncli.export(content, tmp_path / f"out{suffix}")
    found = pd.read_csv(out) if suffix == ".csv" else pd.read_parquet(out)
    given = pd.read_csv(tmp_path / "rows.csv")
    assert list(found.columns) == [*given.columns, "poison", "row", "replaced"]
    clean = found["poison"] == 0
    rows = found.loc[clean, "row"].to_numpy() - 1
    for name in given.columns:
        expected = given[name].iloc[rows].reset_index(drop=True)
        pd.testing.assert_series_equal(found.loc[clean, name].reset_index(drop=True), expected, check_dtype=False)
    poison = found[~clean]
    assert poison["id"].isna().all()
    assert set(poison["city"]) <= {"Rome", "Bonn", "Oslo"}
    assert set(poison["vip"]) <= {"yes", "no"}
    assert set(poison["deck"].dropna()) <= {"A", "B"}
    assert np.all(poison["children"] % 1 == 0)
    assert poison["children"].between(0, 4).all()
    assert poison["since"].between("2020-01-31", "2022-07-18").all()
    again, first = (File(str(path), target).inspect() for path in (out, tmp_path / "rows.csv"))
    assert again.used == first.used
    assert [one.kind for one in again.columns if one.name in again.used] == [
        one.kind for one in first.columns if one.name in first.used
    ]


def test_an_export_is_given_poison_too(frame, tmp_path):
    path = attacked(frame, tmp_path, "bought")
    content = poisoncli.read(path)
    poisoncli.export(content, tmp_path / "out.csv")
    data = Choice("file", {"path": str(tmp_path / "rows.csv"), "target": "bought"})
    given = replay.with_given_poison(data, str(tmp_path / "out.csv"))
    assert given.poison.y.shape == content.poison.y.shape
    own, theirs = (restore(one) for one in (content, given))
    found = given.poison.x[0] * theirs.scale[0] + theirs.shift[0]
    expected = content.poison.x[0] * own.scale[0] + own.shift[0]
    order, wanted = (np.lexsort(one.round(3).T) for one in (found, expected))
    known = [
        number for number, name in enumerate(own.encoder.names) if name != "age"
    ]  # missing ones are imputed anew
    np.testing.assert_allclose(found[order][:, known], expected[wanted][:, known], rtol=1e-4, atol=1e-3)
    (tmp_path / "bad.csv").write_text("age,bought\n1,maybe\n")
    with pytest.raises(PoisonError, match="lacks the columns 'children', 'vip'"):
        replay.with_given_poison(data, str(tmp_path / "bad.csv"))


def test_the_split_is_the_users(frame, tmp_path):
    frame["part"] = np.repeat(["train", "val", "test"], 100)
    frame["house"] = np.arange(300) // 5
    frame.to_csv(tmp_path / "rows.csv", index=False)
    known = {"path": str(tmp_path / "rows.csv"), "target": "bought", "ignore": ("kind", "spent")}

    def split(**options):
        run = Run(dataset=Choice("file", {**known, **options}), attack=Choice("flip"), fraction=0.1)
        return poisoncli.read(poisoncli.attack(run, tmp_path / "run.h5", force=True)).split

    parted = split(split_column="part")
    assert [sorted(parted[name][0].tolist()) for name in ("train", "val", "test")] == [
        list(range(first, first + 100)) for first in (0, 100, 200)
    ]
    houses = [set(frame["house"].iloc[rows[0]]) for rows in split(group_column="house").values()]
    assert not set.intersection(*houses)
    timed = split(time_column="since")
    assert frame["since"].iloc[timed["train"][0]].max() <= frame["since"].iloc[timed["test"][0]].min()
    for name, rows in (("a", slice(0, 150)), ("b", slice(150, 300))):
        frame.iloc[rows].to_csv(tmp_path / f"{name}.csv", index=False)
    apart = split(path=str(tmp_path / "a.csv"), test=str(tmp_path / "b.csv"))
    assert sorted(apart["test"][0].tolist()) == list(range(150, 300))
    assert max(apart["train"].max(), apart["val"].max()) < 150
    with pytest.raises(PoisonError, match="--split-column and --group-column part the rows in different ways"):
        split(split_column="part", group_column="house")


def test_what_was_done_is_said(frame, tmp_path, caplog):
    caplog.set_level("INFO", "poisoncli")
    frame["copy"] = frame["bought"].map({"yes": "sold", "no": "kept"})
    frame = pd.concat([frame, frame.iloc[:60]], ignore_index=True).assign(id=np.arange(360))
    frame.loc[:3, "bought"] = None
    frame.loc[4, "city"] = "Nome"
    poisoncli.evaluate(attacked(frame, tmp_path, "bought"))
    assert "4 of 364 rows have no target" in caplog.text or "4 of 360 rows have no target" in caplog.text
    assert "the column 'copy' alone tells the target 'bought'" in caplog.text
    assert "test rows stand among the training rows too" in caplog.text
    assert "for training (" in caplog.text
    assert "missing cells imputed" in caplog.text


def test_features_of_a_huge_size_are_scaled_before_they_are_cut_to_float32(frame, tmp_path):
    huge = frame.assign(age=1e30 * frame["age"], children=frame["children"] * 1e25)
    row, usual = (poisoncli.rows(poisoncli.evaluate(attacked(one, tmp_path, "bought"))) for one in (huge, frame))
    assert row[0]["test_error"] == pytest.approx(usual[0]["test_error"], abs=0.02)
    assert np.isfinite(row[-1]["val_loss"])
