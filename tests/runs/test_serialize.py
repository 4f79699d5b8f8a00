"""Runs as JSON and TOML, by this version and older ones."""

import json
import math

import pytest
from described import runs, sentence
from hypothesis import given

from poisoncli.core.errors import PoisonError
from poisoncli.runs.description import Choice, Run, resolve
from poisoncli.runs.serialize import from_json, from_mapping, from_toml, same, to_json


@pytest.mark.parametrize(
    "fields",
    [
        {"speed": 3},
        {"repetitions": "several"},
        {"fraction": [0.1]},
        {"fraction": True},
        {"learn_lambda": "maybe"},
        {"attack": 3},
        {"attack": {"outer_steps": 3}},
        {"model": ["mlp"]},
        {"seed": None},
        {"seed": 1.5},
        {"seed": math.inf},
        {"dataset": {"name": 3}},
        {"lambda": "strong"},
        {"reg": 2},
        [],
    ],
    ids=str,
)
def test_bad_descriptions_are_refused(fields):
    with pytest.raises(PoisonError) as error:
        from_mapping(fields)
    sentence(error)


@pytest.mark.parametrize("text", ["", "[", "3", "[]", "null", '"run"'])
def test_what_is_no_description_is_refused(text):
    with pytest.raises(PoisonError) as error:
        from_json(text)
    sentence(error)


@given(runs)
def test_json_gives_the_run_back(run):
    run = resolve(run)
    assert from_json(to_json(run)) == run
    assert to_json(from_json(to_json(run))) == to_json(run)
    json.loads(to_json(run), parse_constant=pytest.fail)  # NaN and Infinity are no JSON


def test_infinity_is_written_as_a_text_and_read_from_older_files_too():
    run = resolve(Run(dataset=Choice("boston"), attack=Choice("flip")))
    bounded = resolve(Run(attack=Choice("rmd", {"log_lambda_min": "-inf"})))
    assert json.loads(to_json(bounded))["attack"]["log_lambda_min"] == "-inf"
    for written in (run, bounded):
        older = to_json(written).replace('"-inf"', "-Infinity").replace('"inf"', "Infinity")
        assert from_json(older) == written
        assert same(older, to_json(written))
    assert not same(to_json(run), to_json(bounded))


def test_a_lambda_learned_by_an_older_version_kept_its_step():
    run = resolve(Run(learn_lambda=True))
    assert run.attack.options["lambda_schedule"] == "linear"
    paper = resolve(Run(learn_lambda=True, attack=Choice("rmd", {"lambda_schedule": "constant"})))
    fields = json.loads(to_json(run))
    del fields["attack"]["lambda_schedule"]
    older = json.dumps(fields)
    assert from_json(older) == paper
    assert same(older, to_json(paper))
    assert not same(older, to_json(run))
    assert same(json.dumps([older]), json.dumps([to_json(paper)]))  # of several that are crafted together
    assert not same(json.dumps([older]), json.dumps([to_json(run)]))


def test_a_fixed_lambda_of_an_older_version_is_the_same_run():
    run = resolve(Run(lambda_=0.1))
    fields = json.loads(to_json(run))
    del fields["attack"]["lambda_schedule"]
    assert same(json.dumps(fields), to_json(run))


def test_toml_gives_the_run_back(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        'dataset = "mnist"\nmodel = { name = "mlp", hidden = [5, 3] }\nlambda = 0.25\nfraction = 0.1\n'
        'repetitions = 3\n[attack]\nname = "rmd"\nouter_steps = 7\nnormalize = "batch"\n'
    )
    expected = Run(
        "mnist",
        Choice("mlp", {"hidden": (5, 3)}),
        attack=Choice("rmd", {"outer_steps": 7, "normalize": "batch"}),
        lambda_=0.25,
        fraction=0.1,
        repetitions=3,
    )
    assert resolve(from_toml(str(path))) == resolve(expected)


@pytest.mark.parametrize("content", [b"a = ", b"\xff\xfe", b"speed = 3", b"fraction = []"])
def test_bad_toml_is_refused(tmp_path, content):
    (tmp_path / "run.toml").write_bytes(content)
    with pytest.raises(PoisonError) as error:
        from_toml(str(tmp_path / "run.toml"))
    sentence(error)


def test_absent_toml_is_refused(tmp_path):
    for path in (tmp_path / "absent.toml", tmp_path):
        with pytest.raises(PoisonError, match="cannot read") as error:
            from_toml(str(path))
        sentence(error)
