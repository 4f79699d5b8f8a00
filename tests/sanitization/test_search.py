"""What attacks share that search: their options stand once, and attacks from outside the package can take them."""

import dataclasses

import numpy as np
import pytest
from mails import small
from typer.testing import CliRunner

from poisoncli.attacks import ATTACKS
from poisoncli.cli.app import app
from poisoncli.core.errors import PoisonError
from poisoncli.core.method import method, option
from poisoncli.runs import defaults, replay, run_file, stages
from poisoncli.runs.description import Choice
from poisoncli.sanitization.additive import like_clean
from poisoncli.sanitization.search import COPIES, SearchOptions, search

NAMES = ("kkt", "minmax", "minmax-basic", "influence", "influence-basic", "alfa")


@method
class Middle(SearchOptions):
    """Copies of one class's centroid under the other's label.

    starts: how many candidates.
    """

    starts: int = option(2, low=1)
    copies: int = COPIES

    def craft(self, key, problem, resume=None):
        return search(key, problem, resume, self, lambda linear: (self.starts, None), self._candidate)

    def _candidate(self, problem, feasible, shared, number, rng):
        x = np.repeat(np.round(feasible.center[number % 2])[None], problem.size, axis=0)
        return like_clean(problem, x, np.full(problem.size, 1.0 - 2 * (number % 2)))


@pytest.fixture
def middle(monkeypatch):
    monkeypatch.setitem(ATTACKS, "middle", Middle)


def test_an_attack_from_outside_takes_the_shared_options(middle, words, tmp_path):
    described = dataclasses.replace(small("alfa"), attack=Choice("middle", {"quantile": 0.5, "behind": ("l2",)}))
    content = run_file.read(stages.attack(described, tmp_path / "a.h5", data_dir=words))
    assert content.poison.loss.shape[-1] == 2
    assert np.all(np.isfinite(content.poison.loss[:, 1]))
    assert set(replay.beyond_limits(content, words)) <= {"l2", "slab"}
    with pytest.raises(PoisonError, match=r"remove is 0\.6"):
        stages.attack(dataclasses.replace(described, attack=Choice("middle", {"remove": 0.6})), tmp_path / "b.h5")


@pytest.mark.parametrize("name", [*NAMES, "middle"])
def test_the_help_tells_every_option_once_with_its_default_and_range(middle, name):
    text = CliRunner().invoke(app, ["attack", "--method", name, "--help"]).stdout
    lines = text.splitlines()
    for field in dataclasses.fields(ATTACKS[name]):
        assert sum(line.startswith(f"{field.name}: ") for line in lines) == 1
        assert sum(line.startswith(f"  {field.name} = {field.default}") for line in lines) == 1
    assert text.index("share of each class that the defender drops") < text.index("remove = 0.05    in [0, 0.5]")


def test_what_they_declare_stands_once():
    for name in NAMES:
        told = defaults.attack(name)
        assert told.adds
        assert told.sparse
        assert told.victims[0] == "svm"
        assert told.evades == (("l2",) if name == "alfa" else ("l2", "slab"))
