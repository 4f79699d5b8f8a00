"""Every failure of the past, and a short part of `make fuzz`."""

import itertools
import random
from pathlib import Path

import pytest
from fuzz import generate
from fuzz.case import Case
from fuzz.pool import Zygote
from fuzz.signals import Interruptions
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


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.stem)
def test_what_failed_once_fails_no_more(zygote, path):
    fine(zygote, Case.from_json(path.read_text()))


def test_a_short_part(zygote, made):
    cases = generate.cases(CASES, seed=1, made=made, few=True)
    for case in itertools.islice(cases, CASES):
        fine(zygote, case)


def test_a_killed_evaluation_can_be_repeated(zygote, made):
    found = list(Interruptions(zygote, made, ("evaluate",)).draw(random.Random(0), 2, (1, 0, 0)))
    assert [complaint for _, _, complaint in found] == ["", ""]


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


def test_a_case_is_kept_as_it_was():
    case = Case(
        "kind", ("a", "ä"), {"x.csv": b"a\n", "y": bytes(range(256)), "f/": b""}, "in", {"A": "1"}, "SIGINT", 0.5
    )
    assert Case.from_json(case.to_json()) == case
