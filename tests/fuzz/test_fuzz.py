"""Every failure of the past, and a short part of `make fuzz`."""

import itertools
import random
from pathlib import Path

import pytest
from fuzz import generate
from fuzz.__main__ import insert, keep
from fuzz.case import Case
from fuzz.minimize import minimized
from fuzz.pool import Zygote
from fuzz.signals import SIGNALS, Interruptions, shares
from fuzz.templates import Templates

SEEDS = sorted((Path(__file__).parent / "seeds").glob("*.json"))
CASES = 12


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def zygote(cache):
    with Zygote(cache) as zygote:
        yield zygote


@pytest.fixture(scope="module")
def made(zygote):
    return Templates(zygote)


def fine(zygote, case):
    outcome, complaint = zygote.judge(case)
    assert not complaint, f"poison {' '.join(case.args)}\n{complaint}\n{outcome.stderr[-2000:]}"


@pytest.mark.sampled
@pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.stem)
def test_what_failed_once_fails_no_more(zygote, path):
    fine(zygote, Case.from_json(path.read_text()))


def test_a_short_part(zygote, made):
    cases = generate.cases(CASES, seed=1, made=made, few=True)
    for case in itertools.islice(cases, CASES):
        fine(zygote, case)


def test_an_evaluation_that_is_killed_or_interrupted_can_be_repeated(zygote, made):
    found = list(Interruptions(zygote, made, ("evaluate",)).draw(random.Random(0), dict.fromkeys(SIGNALS, 1)))
    assert [(outcome.status, complaint) for _, outcome, complaint in found] == [(-9, ""), (130, ""), (143, "")]


def test_hits_are_divided_as_they_are_to_be():
    assert shares(140) == SIGNALS == {"SIGKILL": 100, "SIGINT": 20, "SIGTERM": 20}


@pytest.mark.long
def test_a_planted_failure_is_made_small(zygote):
    """What fails is a script that meets one line in one of its files; all else can go."""
    code = (
        "import sys\nfor name in ('a', 'b'):\n    if 'bad' in open(name).read():\n        raise ValueError('found')"
    )
    lines = b"".join(b"%d\n" % number for number in range(40))
    files = {"a": lines, "b": lines + b"bad\n" + lines, "c": b"idle"}
    case = Case("planted", ("-c", code, "--some", "words", "that", "do", "nothing"), files, "in", streams="python")
    wrong = zygote.judge(case)[1]
    assert wrong == "Traceback (most recent call last): ValueError: found"
    small = minimized(zygote, case, wrong)
    assert small.args == ("-c", code)
    assert small.stdin == ""
    assert set(small.files) == {"a", "b"}
    assert len(small.files["a"]) < len(lines)
    assert small.files["b"].count(b"\n") < 20
    assert b"bad\n" in small.files["b"]
    assert zygote.judge(small)[1] == wrong


def test_a_failure_is_kept_at_once_and_the_table_made(tmp_path):
    case = Case("kind of case", ("evaluate", "x"), {"x": b"1"})
    path = keep(case, tmp_path / "seeds")
    assert Case.from_json(path.read_text()) == case
    for _ in range(2):
        insert(tmp_path / "TABLE.md", "so many")
    assert (tmp_path / "TABLE.md").read_text().count("so many") == 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("raise ValueError('no')", "Traceback (most recent call last): ValueError: no"),
        ("import os; os.abort()", "exit status -6"),
        ("import time; time.sleep(9)", "hangs"),
        ("x = bytearray(7 * 2**30)", "Traceback (most recent call last): MemoryError"),
        ("raise SystemExit(7)", "exit status 7"),
        ("raise SystemExit(2)", "refused without a word"),
        ("open('out.h5', 'w').write('no')", "half-written .h5"),
        ("open('.x.writing', 'w')", "left .writing behind"),
    ],
)
def test_the_harness_sees_what_it_looks_for(zygote, code, complaint):
    outcome, found = zygote.judge(Case("harness", ("-c", code), streams="python"), seconds=3.0)
    assert found.startswith(complaint), (found, outcome)


def test_command_lines_follow_each_other_until_one_fails(zygote):
    def code(text):
        return ("-c", text)

    write, fail = code("open('a', 'a').write('x')"), code("import sys; print('why', file=sys.stderr); sys.exit(2)")
    look = code("import sys; sys.exit(len(open('a').read()))")
    for then, status in (((write, look), 2), ((write, write, look), 3), ((fail, look), 2), ((), 0)):
        assert zygote.judge(Case("chain", write, streams="python", then=then))[0].status == status
    wrong = zygote.judge(Case("chain", write, streams="python", then=(code("1 / 0"), write)))[1]
    assert wrong.endswith("ZeroDivisionError: division by zero")


def test_a_case_is_kept_as_it_was():
    case = Case(
        *(
            "kind",
            ("a", "ä"),
            {"x.csv": b"a\n", "y": bytes(range(256)), "f/": b""},
            "in",
            {"A": "1"},
            "SIGINT",
            0.5,
        ),
        then=(("b",), ("c", "d")),
    )
    assert Case.from_json(case.to_json()) == case
