"""`--hypergradient`: every method attacks, what cannot work says so, and the benchmark of their growth runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import poisoncli
from poisoncli import Choice, Run
from poisoncli.bilevel.hypergradient import NAMES
from poisoncli.bilevel.hypergradient import HypergradientMethod as Method
from poisoncli.cli import app

SMALL = ("--n-train", "40", "--n-val", "20", "--n-test", "20", "--fraction", "0.05", "-o", "outer_steps=2", "-q")


@pytest.fixture
def craft(tmp_path):
    """Attacks on the command line; returns the result and the run file's path."""

    def run(*words):
        path = tmp_path / "run.h5"
        return CliRunner().invoke(app, ["attack", *SMALL, "--out", str(path), *words]), path

    return run


@pytest.mark.sampled
@pytest.mark.parametrize("name", NAMES)
def test_every_method_attacks(craft, name):
    penalty = ("--lambda", "0.5") if name in ("cg", "exact") else ()
    result, path = craft("--hypergradient", name, "-o", "inner_steps=30", *penalty)
    assert result.exit_code == 0, result.output
    poison = poisoncli.read(path).poison
    assert poison.loss[0, 1, 1] > poison.loss[0, 1, 0]


@pytest.mark.long
def test_conjugate_gradients_that_stop_early_warn(tmp_path):
    attack = Choice("rmd", {"hypergradient": "cg", "iterations": 1, "outer_steps": 2, "inner_steps": 30})
    run = Run(attack=attack, lambda_=0.5, n_train=40, n_val=20, n_test=20, fraction=0.05)
    with pytest.warns(UserWarning, match=r"stopped at a relative residual of .*: raise -o iterations"):
        poisoncli.attack(run, tmp_path / "run.h5")


def test_forward_mode_that_cannot_fit_is_refused(craft, monkeypatch):
    monkeypatch.setattr("poisoncli.bilevel.schedule.CPU_MEMORY", 1000)
    result, path = craft("--hypergradient", "forward")
    assert result.exit_code == 2
    assert "GB: use --hypergradient reverse" in result.output
    assert not path.exists()


@pytest.mark.long
def test_benchmark_measures_and_fits(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    from benchmarks import methods

    assert methods.exponent((10, 100, 200), (9.0, 3.0, 24.0)) == pytest.approx(3)
    assert {one.method.name for one in methods.series()} == set(NAMES)
    for name in NAMES:
        small, large = (methods.measure(Method(name, iterations=3), methods.Size(3, m, 2)) for m in (10, 40))
        assert small[0] > 0
        assert small[1] < large[1]
    steps = [methods.measure(Method("reverse"), methods.Size(steps, 50, 2))[1] for steps in (1000, 2000)]
    assert np.log2(steps[1] / steps[0]) == pytest.approx(1, abs=0.15)
