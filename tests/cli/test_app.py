"""The verbs, and what none of them is."""

import importlib.metadata
import re

import pytest
from command import done, poison

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("attack", "--seed", "x"), "--seed"),
        (("attack", "--speed", "9"), "--speed"),
        (("attack", "extra"), "extra"),
        (("evaluate",), "RUNS"),
        (("nothing",), "nothing"),
    ],
)
def test_what_cannot_be_parsed_is_refused(words, says):
    result = poison(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert says.lower() in result.stderr.lower()


VERBS = ("attack", "audit", "defend", "evaluate", "report", "sweep", "export", "collapse", "datasets")


def test_every_verb_stands_in_the_help_and_has_one_of_its_own():
    shown = "\n".join(done("--help"))
    for verb in VERBS:
        assert re.search(rf"\b{verb}\b", shown)
        assert "--debug" in "\n".join(done(verb, "--help"))


def test_the_version_is_that_of_the_package():
    assert done("--version") == [f"poison {importlib.metadata.version('poisoncli')}"]
