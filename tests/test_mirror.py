"""Each module is tested in the file of its name."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = {
    f"{path.parent.name}/{path.stem}": path
    for path in sorted((ROOT / "poisoncli").glob("*/*.py"))
    if path.stem != "__init__"
}
NO_LOGIC = {  # nothing that could be wrong alone: names, protocols and plain records
    "bilevel/bilevel_problem": "records",
    "cli/attack_options": "declarations, whose help test_readme.py compares",
    "cli/shared_options": "declarations",
    "core/attack": "records and a protocol",
    "core/data": "records",
    "core/defense": "records and a protocol",
    "core/errors": "two exceptions",
    "core/victim": "records and protocols",
    "runs/progress": "a type",
}


def own(module: str) -> Path:
    """The test file of a module's name."""
    room, name = module.split("/")
    return ROOT / "tests" / room / f"test_{name}.py"


def test_every_module_with_logic_has_its_file():
    without = {module for module in MODULES if not own(module).is_file()}
    assert without - NO_LOGIC.keys() == set(), "add tests/ROOM/test_NAME.py"
    assert NO_LOGIC.keys() - without == set(), "these have a file of their own, or are gone: take them off the list"
