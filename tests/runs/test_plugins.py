"""Methods from files outside the package: found, named, used by every verb; missed only where they are needed."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from poisoncli.cli import app
from poisoncli.core.errors import PoisonError
from poisoncli.runs import plugins, run_file

PAGES = Path(__file__).parents[2] / "docs" / "plugins"
KINDS = ("attack", "defense", "model", "dataset")
SWEEP = """
title = "own"
defend = ["far-rows"]
[base]
dataset = "rings"
attack = "shrink"
model = "tanh-net"
n_train = 40
n_val = 20
n_test = 30
[line.a]
fraction = 0.1
[line.b]
fraction = 0.2
"""

DEFENSE = '''
"""A defense of one's own (2026)."""
import numpy as np
from poisoncli.core.defense import Verdict
from poisoncli.core.method import method, option

@method
class DropFirst:
    """Drops the first rows.

    rows: how many.
    """
    rows: int = option(2, low=1)

    def knows(self):
        return "nothing"

    def weigh(self, key, data, learner, clues):
        weight = np.ones(len(data.y), np.float32)
        weight[: self.rows] = 0
        return Verdict(weight, 1.0 - weight, {})
'''

ATTACK = '''
"""An attack of one's own (2026)."""
from poisoncli.bilevel.initial_poison import flipped_copies
from poisoncli.core.method import method

@method
class Own:
    """Flips labels."""

    def craft(self, key, problem, resume=None):
        p = flipped_copies(key, problem, outer_steps=0)._replace(done=1, total=1)
'''


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch):
    """Tables, and what was imported, are as before."""
    for table in plugins.TABLES.values():
        for name in list(table):
            monkeypatch.setitem(table, name, table[name])
    before, places = {kind: dict(table) for kind, table in plugins.TABLES.items()}, list(sys.path)
    monkeypatch.setattr(plugins, "_sources", {})
    modules = set(sys.modules)
    yield
    for kind, table in plugins.TABLES.items():
        table.clear()
        table.update(before[kind])
    sys.path[:] = places
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", None) and "/pytest-" in str(sys.modules[name].__file__):
            del sys.modules[name]


@pytest.fixture
def own(tmp_path: Path):
    """Writes a file of the user's."""

    def write(text: str, name: str = "own.py") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_methods_of_a_file_are_known_by_their_kinds_and_names(own) -> None:
    path = own(DEFENSE)
    assert plugins.load([path]) == [("defense", "drop-first")]
    assert plugins.load([path]) == [("defense", "drop-first")]  # again, nothing is taken
    assert plugins.sources({"defense": "drop-first", "model": "svm"}) == {"defense drop-first": "file own.py"}
    assert plugins.is_here("defense", "drop-first")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 / 0", "does not import .ZeroDivisionError"),
        ("x = 1", "defines no method: write a class with these functions .attack: craft; defense: weigh and knows"),
        (DEFENSE.replace("@method", ""), "class DropFirst .drop-first. is no method: put @method"),
        (DEFENSE.replace("rows: int", "name = 'l2'\n    rows: int"), "a name that poison itself has taken"),
        (DEFENSE.replace("rows: int", "usual_for = 5\n    rows: int"), "class DropFirst declares usual_for = 5"),
        (DEFENSE.replace("rows: int", "usual_for = ('odd',)\n    rows: int"), r"declares usual_for = \('odd',\)"),
        (DEFENSE.replace("rows: int", "wants_penalty = 1\n    rows: int"), "declares wants_penalty = 1, see"),
    ],
)
def test_files_that_bring_nothing_are_refused(own, text: str, says: str) -> None:
    with pytest.raises(PoisonError, match=says):
        plugins.load([own(text, "bad.py")])


def test_a_missing_plug_in_is_named() -> None:
    known = {"attack shift": "file mine.py", "model net": "package extras 1.2"}
    plugins.require({"attack": "rmd", "model": "svm", "trainer": "odd"}, known)
    for kind, name, says in (
        ("attack", "shift", "from file mine.py, which is not here: bring it with --plugin mine.py"),
        ("model", "net", "from package extras 1.2, which is not here: bring it with `pip install` of extras 1.2"),
        ("defense", "far", "from a plug-in, which is not here: bring it with --plugin FILE.py"),
    ):
        with pytest.raises(PoisonError, match=says):
            plugins.require({kind: name}, known)


def poison(*words: object, status: int = 0) -> tuple[str, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == status, result.output
    return result.stdout, result.stderr


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("raise IndexError('no')", "own.py, line 20, failed (IndexError: no): `poison check"),
        ("raise SystemExit(3)", "own.py, line 20, failed (SystemExit: 3): `poison check"),
        ("return Verdict(None, None, 5)", "failed with the methods of"),
    ],
)
def test_a_method_that_fails_is_blamed(own, tmp_path: Path, fault: str, says: str) -> None:
    run, path = tmp_path / "run.h5", own(DEFENSE.replace("        weight[: self.rows] = 0\n", f"        {fault}\n"))
    poison("attack", "--method", "flip", "--n-train", 20, "--n-val", 10, "--n-test", 10, "--out", run)
    _, said = poison("defend", run, "--plugin", path, "-d", "drop-first", status=1)
    assert says in said


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("return iter(())", "attack own ended without poison"),
        ("yield p._replace(done=0)", "attack own ended at step 0 of 1"),
        ("yield p._replace(counts=p.counts * 2)", "attack own gives poison that cannot be used .*: counts"),
        ("yield p._replace(y=p.y[:, :1])", "attack own gives poison that cannot be used"),
    ],
)
def test_poison_that_is_none_is_not_written(own, tmp_path: Path, fault: str, says: str) -> None:
    path, run = own(f"{ATTACK}        {fault}\n"), tmp_path / "run.h5"
    sizes = ("--n-train", 20, "--n-val", 10, "--n-test", 10)
    _, said = poison("attack", *sizes, "--plugin", path, "--method", "own", "--out", run, status=1)
    assert re.search(says, said)
    assert not run.exists()


def example(kind: str) -> str:
    """The page's only block of Python."""
    (found,) = re.findall(r"```python\n(.*?)```", (PAGES / f"{kind}.md").read_text(encoding="utf-8"), re.S)
    return found


def take_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The methods of the pages, as in a process without `--plugin`."""
    for kind, name in (("attack", "shrink"), ("defense", "far-rows"), ("model", "tanh-net"), ("dataset", "rings")):
        del plugins.TABLES[kind][name]
    monkeypatch.setattr(plugins, "_sources", {})


def test_every_verb_takes_plug_ins_and_those_that_read_do_without(
    own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = [word for kind in KINDS for word in ("--plugin", own(example(kind), f"own_{kind}.py"))]
    names = ("--dataset", "rings", "--model", "tanh-net", "--method", "shrink", "-o", "far=0.25")
    poison("attack", *files, *names, "--n-train", 40, "--n-val", 20, "--n-test", 30, "--fraction", 0.2)
    assert "Flips labels, and moves" in poison("attack", *files, "--method", "shrink", "--help")[0]
    assert "rings" in poison("datasets", *files)[0]
    poison("defend", *files, "run.h5", "-d", "far-rows", "-o", "remove=0.1")
    shown = poison("evaluate", *files, "run.h5")[0]
    poison("evaluate", *files, "run.h5", "-d", "far-rows", "-d", "l2")
    poison("export", *files, "run.h5", "out.npz")
    poison("report", *files, "run.h5", "-o", "with.svg")
    (tmp_path / "plan.toml").write_text(SWEEP)
    poison("sweep", *files, "--config", "plan.toml", "--out", "swept")
    take_away(monkeypatch)

    assert run_file.read("run.h5").plugins == {
        f"{kind} {name}": f"file own_{kind}.py"
        for kind, name in (
            ("dataset", "rings"),
            ("model", "tanh-net"),
            ("attack", "shrink"),
            ("defense", "far-rows"),
        )
    }
    assert poison("evaluate", "run.h5")[0] == shown
    assert "shrink" in shown
    json.loads(poison("evaluate", "run.h5", "--json", "--metric", "auc")[0])
    poison("evaluate", "run.h5", *map(str, Path("swept").glob("a.*.h5")))
    poison("report", "run.h5", "-o", "without.svg")
    poison("report", "swept", "--draw", "test_error,norm")
    for words in (
        ("export", "run.h5", "more.npz"),
        ("defend", "run.h5", "-d", "l2"),
        ("evaluate", "run.h5", "-d", "l2"),
        ("evaluate", "run.h5", "--victim", "sklearn.linear_model:LogisticRegression"),
    ):
        err = poison(*words, status=2)[1]
        assert "the dataset rings is from file own_dataset.py, which is not here: bring it with --plugin" in err
    assert (
        "the defense far-rows is from file own_defense.py"
        in poison("evaluate", "run.h5", "--lambda", 1, status=2)[1]
    )
    assert "no attack named 'shrink'" in poison("attack", "--method", "shrink", "--out", "b.h5", status=2)[1]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An installed package with two entry points, one of which does not import."""
    (tmp_path / "poison_extras.py").write_text(example("attack"))
    about = tmp_path / "poison_extras-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: poison-extras\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text(
        "[poisoncli.attacks]\nsqueeze = poison_extras:Shrink\n[poisoncli.models]\nbad = poison_absent:Net\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    plugins.install.cache_clear()
    yield
    plugins.install.cache_clear()


@pytest.mark.filterwarnings("default")
def test_installed_packages_bring_methods_when_a_verb_needs_them(
    package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    poison("--help")
    assert "poison_extras" not in sys.modules
    words = ("--method", "squeeze", "--n-train", 40, "--n-val", 20, "--n-test", 30, "--fraction", 0.1)
    err = poison("attack", *words)[1]
    assert "the model bad of package poison-extras 1.2 is left out: ModuleNotFoundError" in err
    assert run_file.read("run.h5").plugins == {"attack squeeze": "package poison-extras 1.2"}
    poison("evaluate", "run.h5")
    del plugins.TABLES["attack"]["squeeze"]
    sys.modules.pop("poison_extras")
    plugins.install.cache_clear()
    assert "squeeze" in poison("evaluate", "run.h5")[0]
    assert "poison_extras" not in sys.modules  # reading runs no code
    poison("defend", "run.h5", "-d", "l2")
    assert plugins.is_here("attack", "squeeze")


def test_every_verb_that_takes_methods_takes_plug_ins() -> None:
    for verb in ("attack", "audit", "defend", "evaluate", "report", "sweep", "export", "collapse", "datasets"):
        assert "--plugin" in poison(verb, "--help")[0]
