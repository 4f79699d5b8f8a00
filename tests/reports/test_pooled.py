"""Runs that differ in their seed are drawn as repetitions of one."""

import numpy as np

import poisoncli
from poisoncli import Choice, Run
from poisoncli.reports import summary
from poisoncli.reports.pooled import pooled


def flipped(path, seed, **fields):
    sizes = {"n_train": 40, "n_val": 10, "n_test": 20}
    trained = Choice("sgd", {"rate": 0.1, "epochs": 5})
    run = Run(
        attack=Choice("flip", {"batch": 4}), trainer=trained, seed=seed, **{"fraction": 0.2, **sizes, **fields}
    )
    return poisoncli.evaluate(poisoncli.attack(run, path / f"{seed}.h5"))


def test_repetitions_join_and_other_stages_do_not(tmp_path):
    one, two = flipped(tmp_path, 1, repetitions=2), flipped(tmp_path, 2)
    both = pooled([one, two])
    for name in ("test_error", "norm"):
        parts = [getattr(each.evaluations["none"], name) for each in (one, two)]
        np.testing.assert_array_equal(getattr(both.evaluations["none"], name), np.concatenate(parts))
    assert [row["repetitions"] for row in summary.rows(both)] == [3, 3, 3]
    assert pooled([one]) is one
    assert pooled([one, flipped(tmp_path, 3, fraction=0.1)]) is None
