"""What the package brings along, and how it looks on the package index."""

from __future__ import annotations

import importlib.resources
import re
import tomllib
from pathlib import Path

from typer.testing import CliRunner

from poisoncli.cli import app

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = SETTINGS["project"]


def test_both_names_start_the_command_line() -> None:
    """`pipx run poisoncli` looks for a script of the package's name."""
    assert PROJECT["scripts"] == dict.fromkeys(("poison", "poisoncli"), "poisoncli.__main__:main")


def test_urls_and_licenses_are_named() -> None:
    assert {"Homepage", "Repository", "Changelog"} <= set(PROJECT["urls"])
    for url in PROJECT["urls"].values():
        assert url.startswith("https://")
    assert all((ROOT / name).is_file() for name in PROJECT["license-files"])


def test_links_of_the_readme_are_absolute_on_the_index() -> None:
    hook = SETTINGS["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = "".join((ROOT / part["path"]).read_text(encoding="utf-8") for part in hook["fragments"])
    relative = len(re.findall(r"\]\((?!http)", text))
    for change in hook["substitutions"]:
        text = re.sub(change["pattern"], change["replacement"], text)
    assert relative > 3
    assert not re.findall(r"\]\((?!https://)", text)
    images = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert images
    assert all(link.startswith("https://raw.") and link.endswith(".png") for link in images)


def test_presets_and_types_lie_in_the_package() -> None:
    package = importlib.resources.files("poisoncli")
    assert (package / "py.typed").is_file()
    assert sum(item.name.endswith(".toml") for item in (package / "sweeps" / "presets").iterdir()) > 20


def test_shells_can_complete() -> None:
    assert "--install-completion" in CliRunner().invoke(app, ["--help"]).stdout


def test_presets_and_readme_leave_the_bias_of_svm_free() -> None:
    presets = importlib.resources.files("poisoncli") / "sweeps" / "presets"
    texts = [item.read_text(encoding="utf-8") for item in presets.iterdir() if item.name.startswith("ksl")]
    assert len(texts) > 5
    assert not any("penalized" in text for text in texts)
