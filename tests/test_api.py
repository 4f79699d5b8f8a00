"""`import poisoncli`: typed names, imported on first use, that stay what they are."""

from __future__ import annotations

import inspect
import json
import pkgutil
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import poisoncli

ROOT = Path(__file__).parents[1]
USE = """
from typing import assert_type
from pathlib import Path
import poisoncli
from poisoncli import WeighedRows, Choice, Run, RunFile

path = poisoncli.attack(Run(learn_lambda=True), "run.h5")
assert_type(path, Path)
content = poisoncli.evaluate(path)
assert_type(content, RunFile)
found = poisoncli.weigh_rows(Choice("digits"), "l2")
assert_type(found, WeighedRows)
assert_type(poisoncli.sweep(poisoncli.preset("hlp-fig2"), "out"), list[poisoncli.Outcome])
assert_type(poisoncli.collapse(content), poisoncli.CollapsedRun)
"""


@pytest.mark.parametrize("name", poisoncli.__all__)
def test_names_stay_what_they_are(name: str) -> None:
    """A module of the same name must not take the place of a function once it is imported."""
    first = getattr(poisoncli, name)
    module, attribute = poisoncli._HOME[name]
    assert first is getattr(sys.modules[f"poisoncli.{module}"], attribute)
    assert getattr(poisoncli, name) is first
    assert callable(first)
    assert not inspect.ismodule(first)


def test_no_name_is_a_room_too() -> None:
    assert not set(poisoncli.__all__) & {module.name for module in pkgutil.iter_modules(poisoncli.__path__)}


def test_dir_and_help_list_the_names() -> None:
    assert set(poisoncli.__all__) <= set(dir(poisoncli))
    assert set(poisoncli.__all__) == set(poisoncli._HOME)
    text = pydoc.plain(pydoc.render_doc(poisoncli))
    for name in ("audit(", "attack(", "class Run(", "collapse(", "sweep ", "reevaluate("):
        assert name in text, name


def test_importing_is_light_and_dir_imports_nothing() -> None:
    code = "import sys, poisoncli; dir(poisoncli); print(sorted({'jax', 'numpy', 'typer'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


def test_unknown_names_are_no_attributes() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'screen'"):
        poisoncli.screen  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


def checked(folder: Path, *sources: str) -> str:
    """What the type checker says of programs that use the package."""
    for number, source in enumerate(sources):
        (folder / f"use{number}.py").write_text(source)
    settings = {"typeCheckingMode": "standard", "extraPaths": [str(ROOT)]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    words = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable, "-p", "."]
    return subprocess.run(words, capture_output=True, text=True, cwd=folder, check=False).stdout


@pytest.mark.long
def test_a_type_checker_knows_the_names(tmp_path: Path) -> None:
    assert (ROOT / "poisoncli" / "py.typed").is_file()
    assert "0 errors" in checked(tmp_path, USE, (ROOT / "examples" / "own_data.py").read_text())


def test_a_type_checker_finds_wrong_uses(tmp_path: Path) -> None:
    said = checked(tmp_path, "import poisoncli\npoisoncli.attack(3)\npoisoncli.evaluate('run.h5').poisoned\n")
    assert "2 errors" in said, said
