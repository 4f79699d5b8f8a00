"""The whole answer in one call: attack, flips, learned lambda, defenses and victims, kept in a folder."""

import dataclasses

import numpy as np
import pytest
from command import TINY  # noqa: F401
from sklearn.datasets import load_iris

import poisoncli
from poisoncli import Choice, PoisonError, Run, Victim
from poisoncli.runs import run_file, serialize
from poisoncli.runs.audit import ATTACK, FLIPS, LEARNED, audit

RMD = Choice("rmd", {"outer_steps": 4, "inner_steps": 6, "batch": 4})
SMALL = Run(attack=RMD, trainer=Choice("sgd", {"epochs": 20}), n_train=40, n_val=20, n_test=20)
FOREST = Victim("sklearn.tree:DecisionTreeClassifier", {"max_depth": 2})


def test_it_is_what_the_stages_give_one_by_one(tmp_path):
    found = audit(SMALL, tmp_path / "out", defenses=["l2", "knn"], outside=[FOREST])
    path = poisoncli.attack(dataclasses.replace(SMALL, fraction=0.1), tmp_path / "alone.h5")
    poisoncli.defend(path, "l2")
    alone = poisoncli.evaluate(path)
    np.testing.assert_array_equal(found.attack.poison.x, alone.poison.x)
    for name in ("none", "l2"):
        np.testing.assert_array_equal(found.attack.evaluations[name].test_error, alone.evaluations[name].test_error)
    assert set(found.attack.evaluations) == {"none", "l2", "knn"}
    assert [one.name for one in found.attack.victims] == ["DecisionTreeClassifier"]
    assert found.flips is not None
    assert found.flips.poison.counts.tolist() == found.attack.poison.counts.tolist() == [0, 4]
    assert found.learned is not None
    assert serialize.from_json(found.learned.run).learn_lambda
    assert found.failed == {}
    assert sorted(path.name for path in (tmp_path / "out").glob("*.h5")) == sorted([ATTACK, FLIPS, LEARNED])


def test_the_same_audit_again_keeps_what_is_there_and_another_needs_force(tmp_path):
    first = audit(SMALL, tmp_path, defenses=["l2"])
    before = (tmp_path / ATTACK).read_bytes()
    again = audit(SMALL, tmp_path, defenses=["l2"])
    assert (tmp_path / ATTACK).read_bytes() == before
    np.testing.assert_array_equal(first.attack.poison.x, again.attack.poison.x)
    other = dataclasses.replace(SMALL, seed=1)
    with pytest.raises(PoisonError, match="--force"):
        audit(other, tmp_path, defenses=["l2"])
    audit(other, tmp_path, defenses=["l2"], force=True)
    assert serialize.from_json(run_file.read(tmp_path / FLIPS).run).seed == 1


def test_a_penalty_of_the_users_own_is_not_learned_anew(tmp_path):
    found = audit(dataclasses.replace(SMALL, lambda_=0.01), tmp_path, defenses=["l2"])
    assert found.learned is None
    assert found.flips is not None


def test_flips_know_of_no_limits_and_defenses_that_cannot_be_used_are_told(tmp_path):
    x, y = load_iris(return_X_y=True)
    np.savez(tmp_path / "iris.npz", x=x, y=y)
    data = Choice("file", {"path": str(tmp_path / "iris.npz")})
    run = dataclasses.replace(SMALL, dataset=data, n_train=60, ranges=("x0=4.5:7",))
    found = audit(run, tmp_path / "out")
    assert found.flips is not None
    assert set(found.attack.evaluations) - {"none"} == set(found.attack.defenses) != set()
    assert not set(found.failed) & set(found.attack.defenses)
    with pytest.raises(PoisonError):
        audit(run, tmp_path / "out", defenses=["no-such"])


def test_of_added_rows_the_flips_are_added_too(tmp_path):
    kkt = Choice("kkt", {"repeats": (3,), "quantiles": (0.4,), "splits": 1})
    run = Run(Choice("breast-cancer"), Choice("svm"), attack=kkt, lambda_=0.1, n_train=80, n_val=20, n_test=60)
    found = audit(run, tmp_path, defenses=["l2"])
    assert found.flips is not None
    assert serialize.from_json(found.flips.run).attack.name == "alfa"
    assert found.learned is None
    assert found.flips.poison.counts[-1] == found.attack.poison.counts[-1] == 8
