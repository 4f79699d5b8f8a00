"""Whether a surrogate resembles the victims: which gaps count, and what is said of them."""

import dataclasses
import types
from pathlib import Path

import numpy as np
import pytest
from small_run import FLIPS

import poisoncli
from poisoncli.runs import run_file, stand_in, victims


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Flipped digits, two repetitions, evaluated."""
    path = poisoncli.attack(dataclasses.replace(FLIPS, n_test=30, repetitions=2), tmp_path / "run.h5")
    poisoncli.evaluate(path)
    return path


def test_a_near_surrogate_is_not_called_poor(run: Path) -> None:
    content = run_file.read(run)
    for error, says in ((0.05, 0), (0.2, 1)):
        content.evaluations["none"].test_error[:] = 0.04
        measured = {"none": {"error": np.full((2, 3), error)}}
        one = victims.Measured("mine", "a:mine", "{}", (0, 1), measured)
        assert len(stand_in.check(dataclasses.replace(content, victims=(one,)))) >= says
        assert bool(stand_in.check(dataclasses.replace(content, victims=(one,)))) == bool(says)


@pytest.mark.parametrize(
    ("one", "other", "far"),
    [(0.10, 0.14, False), (0.10, 0.30, True), (0.02, 0.06, False), (0.30, 0.40, False), (float("nan"), 0.1, False)],
)
def test_a_gap_counts_beyond_half_of_the_smaller_error_and_beyond_chance(one, other, far):
    content = types.SimpleNamespace(real=False, split={"test": np.zeros((1, 100))})
    assert stand_in._far(one, other, content) == stand_in._far(other, one, content) == far


def test_errors_of_real_targets_have_no_chance():
    content = types.SimpleNamespace(real=True)
    assert stand_in._far(0.5, 0.76, content)
    assert not stand_in._far(0.5, 0.74, content)
