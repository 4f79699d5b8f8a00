"""Awkward rows with real targets through attack, defenses, evaluation: a right answer or a clear error, no NaN."""

import warnings

import numpy as np
import pytest

import poisoncli
from poisoncli import Choice, PoisonError, Run
from poisoncli.runs import description, own_rows

ATTACKS = {"stealthy": {"outer_steps": 3, "alpha": 0.3}, "flip": {}, "statp": {}}
EVERY = ("trim", "huber", "sever", "proda", "duti", "bayesclean")


def table(kind: str) -> np.ndarray:
    """Features, mostly five so that kinds share compiled programs, and a last column that is the target."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((120, 3))
    y = x @ [1.0, -2.0, 0.5] + 0.3 * rng.standard_normal(120)
    more = {
        "collinear": np.c_[x[:, 0] + x[:, 1], 2 * x[:, 0]],
        "constant": np.full((120, 2), [3.0, 0.0]),
        "nearly constant": np.c_[np.arange(120) == 0, rng.standard_normal(120)],
        "huge and tiny": np.c_[1e6 * rng.standard_normal(120), 1e-6 * rng.standard_normal(120)],
        "more columns than rows": rng.standard_normal((120, 60)),
        "repeated rows": rng.standard_normal((120, 2)),
    }[kind]
    rows = np.c_[x, more, y]
    return np.repeat(rows[:24], 5, axis=0) if kind == "repeated rows" else rows


@pytest.fixture
def file(tmp_path):
    def write(values):
        path = tmp_path / "rows.csv"
        header = ",".join([*(f"x{i}" for i in range(values.shape[1] - 1)), "y"])
        np.savetxt(path, values, delimiter=",", header=header, comments="")
        return Choice("file", {"path": str(path)})

    return write


WIDE = "more columns than rows"
KINDS = ("collinear", "constant", "nearly constant", "huge and tiny", WIDE, "repeated rows")


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("kind", "attack"),
    [
        *((kind, "stealthy") for kind in KINDS),
        ("collinear", "statp"),
        (WIDE, "flip"),
    ],
)
def test_attack_defenses_and_evaluation_stay_finite(file, tmp_path, kind, attack):
    run = Run(
        dataset=file(table(kind)),
        model=Choice("linear"),
        attack=Choice(attack, ATTACKS[attack]),
        trainer=Choice("sgd", {"rate": 0.02}),
        fraction=0.2,
        n_train=40,
    )
    path = poisoncli.attack(run, tmp_path / "run.h5")
    for name in EVERY:
        content = poisoncli.defend(path, name)
    content = poisoncli.evaluate(path)
    assert np.all(np.isfinite(content.poison.x))
    assert np.all(np.isfinite(content.poison.y))
    for name in EVERY:
        found = content.defenses[name]
        assert np.all(np.isfinite(found.score)), name
        assert np.all((found.weight >= 0) & (found.weight <= 1)), name
        assert np.all(np.isfinite(content.evaluations[name].test_error)), name
        if name in ("trim", "sever", "proda", "duti"):
            assert np.all(found.weight.sum(-1) == 24), name


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("kind", KINDS)
def test_screening_stays_finite(file, kind, name):
    data = file(table(kind))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = own_rows.weigh_rows(data, name, trusted=data.options["path"])
    assert np.all(np.isfinite(found.score))
    assert all(np.all(np.isfinite(column)) for column in found.why.values())


@pytest.mark.parametrize("name", EVERY)
def test_targets_that_do_not_vary_are_refused(file, tmp_path, name):
    values = table("collinear")
    values[:, -1] = 7
    data = file(values)
    with pytest.raises(PoisonError, match=r"same|all 7"):
        own_rows.weigh_rows(data, name, trusted=data.options["path"])
    with pytest.raises(PoisonError, match=r"same|all 7"):
        poisoncli.attack(Run(dataset=data, model=Choice("linear"), attack=Choice("flip")), tmp_path / "run.h5")


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("fraction", ["0", "1"])
def test_rejecting_all_or_none(file, name, fraction):
    fields = description.resolve_defense(Choice(name)).options
    data = file(table("collinear"))
    if "fraction" not in fields:
        with pytest.raises(PoisonError, match="has no option 'fraction'"):
            own_rows.weigh_rows(data, Choice(name, {"fraction": fraction}), trusted=data.options["path"])
        return
    if fraction == "1":
        with pytest.raises(PoisonError, match="leaves none"):
            own_rows.weigh_rows(data, Choice(name, {"fraction": fraction}), trusted=data.options["path"])
        return
    found = own_rows.weigh_rows(data, Choice(name, {"fraction": fraction}), trusted=data.options["path"])
    assert found.weight.min() == 1


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_poisoning_all_or_none_is_refused(file, tmp_path, fraction):
    run = Run(dataset=file(table("collinear")), model=Choice("linear"), attack=Choice("flip"), fraction=fraction)
    with pytest.raises(PoisonError, match=r"outside .0, 1."):
        poisoncli.attack(run, tmp_path / "run.h5")
