"""What a run file keeps of measures: written, read again, and refused where it is of another run."""

import types

import h5py
import numpy as np
import pytest

from poisoncli.runs import measured
from poisoncli.runs.measured import Measured

RECALL = np.linspace(0, 1, 12).reshape(2, 3, 2)
AUC = np.full((2, 3), 0.75)


def content(**changes):
    """What of a `RunFile` is looked at: two repetitions, three stages, two classes, one victim."""
    victim = Measured(
        "Forest", "a:Forest", '{"depth": 3}', (0, 1), {"none": {"auc": AUC}, "l2": {"recall": RECALL}}
    )
    evaluations = {"none": types.SimpleNamespace(metrics={"auc": AUC, "recall": RECALL})}
    found = {"evaluations": evaluations, "classes": ("ham", "spam"), "victims": (victim,), "defenses": {"l2": None}}
    return types.SimpleNamespace(**{**found, **changes})


def test_what_is_written_is_read_again(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        measured.write(file, content())
        found = measured.read_metrics(file, "none")
        np.testing.assert_array_equal(found["auc"], AUC)
        np.testing.assert_array_equal(found["recall"], RECALL)
        assert measured.read_metrics(file, "l2") == {}
        assert measured.read_classes(file) == ("ham", "spam")
        (victim,) = measured.read_victims(file)
        assert (victim.name, victim.source, victim.options, victim.seeds) == (
            *("Forest", "a:Forest", '{"depth": 3}'), (0, 1),
        )  # fmt: skip
        np.testing.assert_array_equal(victim.measures["l2"]["recall"], RECALL)
    with h5py.File(tmp_path / "older.h5", "w") as file:
        assert measured.read_classes(file) == ()
        assert list(measured.read_victims(file)) == []


def test_measures_of_another_run_are_refused():
    measured.check(content(), (2, 3))
    for changes, stages in (
        ({}, (2, 4)),
        ({"classes": ("ham",)}, (2, 3)),
        ({"defenses": {}}, (2, 3)),
    ):
        with pytest.raises(ValueError, match=r"measures do not go together|those of another run"):
            measured.check(content(**changes), stages)
