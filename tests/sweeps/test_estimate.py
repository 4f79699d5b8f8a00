"""Rough times and memory of runs, from their sizes; what cannot be told is not."""

import pytest

from poisoncli.sweeps import estimate, plan
from poisoncli.sweeps.plan import of_grid


@pytest.fixture(autouse=True)
def steady(monkeypatch):
    monkeypatch.setattr(estimate, "slowness", lambda: 1.0)


def of(**grid):
    words = {name.replace("__", "."): str(value) for name, value in grid.items()}
    return [estimate.estimate(cell.run) for cell in of_grid(words).cells]


def test_time_grows_with_steps_and_repetitions_and_memory_with_rows():
    few, many = of(dataset="mnist", attack__outer_steps="100,200")
    assert 1.7 < (many.seconds - 5) / (few.seconds - 5) < 2.0  # the victim's own training stays
    one, three = of(dataset="mnist", repetitions="1,3")
    assert (three.seconds - 5) == pytest.approx(3 * (one.seconds - 5))
    small, large = of(dataset="mnist", n_train="500,5000")
    assert large.memory - estimate._LIBRARIES > 3 * (small.memory - estimate._LIBRARIES)
    assert 100 < many.seconds < 3600


def test_a_stealthy_attack_that_weighs_its_risk_takes_two():
    alone, weighed = of(dataset="boston", attack="stealthy", attack__alpha="1,0.3")
    assert 1.9 < (weighed.seconds - 5) / (alone.seconds - 5) <= 2


def test_what_cannot_be_told_from_sizes_is_not(tmp_path):
    (search,) = of(dataset="enron", attack="kkt")
    assert search.seconds is None
    (own,) = of(dataset=str(tmp_path / "mine.csv"))
    assert own == (None, None)
    assert "2 runs: about 0 s one after another, and 2 runs whose time is unknown" in estimate.total([search, own])
    assert str(search).startswith("time unknown")


def test_every_preset_has_an_estimate():
    found = [estimate.estimate(cell.run) for name in plan.presets() for cell in plan.preset(name).cells]
    assert all(one.seconds is None or 0 < one.seconds < 1e7 for one in found)
    assert sum(one.seconds is not None for one in found) > 50
