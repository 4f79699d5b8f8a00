"""Imports run downward only, and `poison --help` stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "poisoncli").rglob("*.py"))
METHODS = ("attacks", "defenses", "models", "datasets")
BOTTOM = {"core"}
FILING = {"store", "files", "tables", "writing", "points", "values"} | BOTTOM
CONFIG = {"config", *METHODS} | FILING
LIBRARY = {"aims", "prepare", "run", "together", "sweep", "screen", "exports", "replay"} | {
    *("maps", "measures", "panels", "report", "figures", "pictures", "planes"),
}
MAY_IMPORT = {  # part of the package -> parts that it may import, itself included
    "core": BOTTOM,
    "store": FILING,
    "files": FILING,
    "tables": FILING,
    "writing": FILING,
    "values": FILING,
    "points": FILING,
    **{kind: {kind, *FILING} for kind in METHODS},
    "config": CONFIG,
    **dict.fromkeys(LIBRARY, LIBRARY | CONFIG),
    "cli": {"cli"} | LIBRARY | CONFIG,
}
ONLY_IN = {  # a library -> where it may be imported
    "typer": ("cli/",),
    "rich": ("cli/",),
    "matplotlib": ("figures.py", "pictures.py"),
    "h5py": ("store.py", "tables.py"),
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


def part(name: str) -> str:
    """The part of the package that a module belongs to; empty for the package itself."""
    return name.removeprefix("poisoncli").removeprefix(".").split(".")[0]


def ours(path: Path) -> set[str]:
    return {name for name in imports(path) if name == "poisoncli" or name.startswith("poisoncli.")}


@pytest.mark.parametrize("path", FILES, ids=within)
def test_imports_run_downward(path):
    own = within(path).removesuffix(".py").split("/")[0]
    if own in ("__init__", "__main__"):
        assert {part(name) for name in ours(path)} <= {"cli"}
        return
    assert {part(name) for name in ours(path)} - {""} <= MAY_IMPORT[own]


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.parent.name in METHODS and p.stem != "__init__"], ids=within
)
def test_methods_import_no_sibling(path):
    assert path.parent.name not in {part(name) for name in ours(path)}


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
