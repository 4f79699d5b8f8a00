"""Imports run downward only, and `poison --help` stays light."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "poisoncli").rglob("*.py"))
METHODS = ("attacks", "defenses", "models", "datasets")
FLOORS = [  # a room may use the rooms on lower floors; those on one floor do not know each other
    ("core",),
    ("training", "tables"),
    ("bilevel", "sanitization", "models", "datasets"),
    ("attacks", "defenses"),
    ("runs",),
    ("reports",),
    ("sweeps",),
    ("cli",),
]
SHARED = {"defenses": {"rejection"}}  # what the methods of a room have in common, beside the methods
ONLY_IN = {  # a library -> where it may be imported
    "typer": ("cli/",),
    "rich": ("cli/",),
    "matplotlib": ("reports/",),
    "h5py": ("runs/hdf5.py", "runs/run_file.py", "tables/"),
    "click": (),
}


def imports(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, also within functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "poisoncli"}
    return found


def within(path: Path) -> str:
    return path.relative_to(ROOT / "poisoncli").as_posix()


def room(name: str) -> str:
    """The room that a module belongs to; empty for the package itself."""
    return name.removeprefix("poisoncli").removeprefix(".").split(".")[0]


def ours(path: Path) -> set[str]:
    return {name for name in imports(path) if name == "poisoncli" or name.startswith("poisoncli.")}


def test_every_module_has_a_room():
    rooms = {name for floor in FLOORS for name in floor}
    assert {path.parent.name for path in FILES if path.parent.parent.name == "poisoncli"} == rooms
    assert {path.stem for path in FILES if path.parent.name == "poisoncli"} == {"__init__", "__main__"}


@pytest.mark.parametrize("path", FILES, ids=within)
def test_imports_run_downward(path):
    own = within(path).split("/")[0]
    if own == "__main__.py":
        assert {room(name) for name in ours(path)} == {"cli"}
    if own in ("__init__.py", "__main__.py"):  # `__init__` imports for type checkers alone, see the last test
        return
    floor = next(number for number, rooms in enumerate(FLOORS) if own in rooms)
    below = {name for rooms in FLOORS[:floor] for name in rooms}
    assert {room(name) for name in ours(path)} - {""} <= below | {own}


def test_no_module_stands_in_a_circle():
    modules = {"poisoncli." + within(path).removesuffix(".py").replace("/", "."): path for path in FILES}
    known = {name: {one for one in ours(path) if one in modules} for name, path in modules.items()}
    assert tuple(graphlib.TopologicalSorter(known).static_order())


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.parent.name in METHODS and p.stem != "__init__"], ids=within
)
def test_methods_import_no_sibling(path):
    own = path.parent.name
    siblings = {name.split(".")[2] for name in ours(path) if room(name) == own and name.count(".") > 1}
    assert siblings <= SHARED.get(own, set())


@pytest.mark.parametrize("library", ONLY_IN)
def test_libraries_stay_in_their_place(library):
    users = [within(path) for path in FILES if library in {name.split(".")[0] for name in imports(path)}]
    assert all(user.startswith(ONLY_IN[library]) for user in users), users
    assert users or not ONLY_IN[library]


def test_core_knows_no_file_and_no_terminal():
    known = {name.split(".")[0] for path in FILES if path.parent.name == "core" for name in imports(path)}
    assert not known & {"os", "pathlib", "io", "sys", "tempfile", "h5py", "typer", "rich", "matplotlib", "pandas"}


@pytest.mark.parametrize("words", [["--help"], ["attack", "--help"], ["evaluate", "-h"], ["--version"]], ids=str)
def test_help_does_not_import_jax(words):
    heavy = "{'jax', 'numpy', 'sklearn', 'h5py', 'pandas', 'matplotlib'}"
    code = (
        f"import sys; sys.argv = ['poison', *{words!r}]\nfrom poisoncli.__main__ import main\n"
        f"try: main()\nfinally: print('imported:', sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stderr.endswith("imported: []\n")
    assert "poison" in result.stdout
