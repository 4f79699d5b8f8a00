"""README and --help must not contradict each other, and what README shows must run."""

from __future__ import annotations

import re
import runpy
import shlex
import tomllib
from pathlib import Path

import pytest
import typer.main

from poisoncli.cli import app
from poisoncli.runs import description, serialize

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
VERBS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def commands() -> list[list[str]]:
    """Every use of `poison VERB ...` in code blocks and in backticks."""
    text = "\n".join(blocks("sh")) + "\n" + "\n".join(re.findall(r"`(poison [^`]+)`", README))
    lines = [part for line in text.splitlines() for part in re.split(r"\||&&|#", line)]
    return [shlex.split(line) for line in lines if re.match(r"\s*poison [a-z]", line)]


def test_every_verb_is_in_the_readme_and_the_other_way_round() -> None:
    assert {words[1] for words in commands()} == set(VERBS)


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_options_of_the_readme_exist(words: list[str]) -> None:
    known = {flag for parameter in VERBS[words[1]].params for flag in parameter.opts} | {"--help"}
    assert {word for word in words[2:] if word.startswith("-") and word != "-"} <= known


@pytest.mark.parametrize("block", blocks("toml"))
def test_configurations_of_the_readme_are_valid(block: str) -> None:
    description.resolve(serialize.from_mapping(tomllib.loads(block)))


@pytest.mark.parametrize("block", blocks("python"))
def test_python_of_the_readme_runs(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "example.py").write_text(block)
    runpy.run_path("example.py")
    assert (tmp_path / "run.png").stat().st_size > 10_000


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([a-z]+)|`make ([a-z]+)`", README, re.M):
        assert re.search(rf"^{''.join(target)}:", makefile, re.M)


def test_figures_and_files_of_the_readme_exist() -> None:
    for link in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / link).is_file(), link


def test_every_option_has_help() -> None:
    for verb in VERBS.values():
        for parameter in verb.params:
            assert getattr(parameter, "help", None), f"{verb.name} {parameter.name}"
