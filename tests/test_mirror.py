"""Where each module is tested: in the file of its name, or where `ELSEWHERE` says."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = {
    f"{path.parent.name}/{path.stem}": path
    for path in sorted((ROOT / "poisoncli").glob("*/*.py"))
    if path.stem != "__init__"
}
NO_LOGIC = {  # nothing that could be wrong alone: names, protocols and plain records
    "core/attack": "records and a protocol",
    "core/data": "records",
    "core/defense": "records and a protocol",
    "core/errors": "two exceptions",
    "core/victim": "records and protocols",
}
ELSEWHERE = {  # module -> file below tests/; methods are in test_contract.py too
    "runs/say": "runs/test_own_data.py",
    "tables/csv_file": "datasets/test_file.py",
    "tables/folder": "tables/test_encode.py",
    "tables/inspect": "tables/test_encode.py",
    "tables/schema": "tables/test_encode.py",
    "tables/write": "runs/test_own_data.py",
    "reports/transfer": "runs/test_victims.py",
    "runs/measured": "cli/test_evaluate.py",
    "runs/stand_in": "runs/test_victims.py",
}
TOLD = {*NO_LOGIC, *ELSEWHERE}


def own(module: str) -> Path:
    """The test file of a module's name."""
    room, name = module.split("/")
    return ROOT / "tests" / room / f"test_{name}.py"


def test_every_module_has_its_file_or_is_told():
    without = {module for module in MODULES if not own(module).is_file()}
    assert without - TOLD == set(), "add tests/ROOM/test_NAME.py"
    assert TOLD - without == set(), "these have a file of their own, or are gone: take them off the list"


def test_the_files_that_are_told_exist():
    assert [file for file in ELSEWHERE.values() if not (ROOT / "tests" / file).is_file()] == []
