"""Runs as JSON, TOML and options: defaults of the papers, and one sentence for every bad value."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poisoncli.core.errors import PoisonError
from poisoncli.datasets import DATASETS
from poisoncli.runs import description
from poisoncli.runs.description import (
    Choice,
    Run,
    build,
    from_json,
    from_mapping,
    from_toml,
    named,
    resolve,
    same,
    to_json,
)

# HLP Table IV: outer steps, alpha, eta, T, log of the largest lambda; Table V: eta, epochs, the same eta and T.
PAPER = {
    ("mnist", "logistic"): (140, 0.300, 0.10, 140, math.log(5e3)),
    ("fmnist", "logistic"): (150, 0.300, 0.04, 160, math.log(5e3)),
    ("cifar10", "logistic"): (120, 0.300, 0.01, 500, math.log(1e5)),
    ("mnist", "mlp"): (180, 0.075, 0.04, 700, math.log(5e3)),
    ("fmnist", "mlp"): (150, 0.100, 0.03, 800, math.log(5e3)),
    ("cifar10", "mlp"): (120, 0.100, 0.03, 800, math.log(1e5)),
}


@pytest.mark.parametrize(("dataset", "model"), PAPER)
def test_defaults_are_those_of_the_paper(dataset, model):
    run = resolve(Run(dataset, model, learn_lambda=True))
    found, victim = run.attack.options, run.trainer.options
    names = ("outer_steps", "outer_rate", "inner_rate", "inner_steps", "log_lambda_max")
    assert tuple(found[name] for name in names) == pytest.approx(PAPER[dataset, model])
    assert (victim["rate"], victim["epochs"]) == PAPER[dataset, model][2:4]
    if model == "mlp":
        assert run.model.options["hidden"] == ((64, 32) if dataset == "cifar10" else (32, 8))
        assert run.model.options["bias"] == 0.01


def test_attacker_trains_like_the_victim_unless_told():
    run = resolve(Run(trainer=Choice("sgd", {"rate": "0.02", "epochs": 33})))
    assert (run.attack.options["inner_rate"], run.attack.options["inner_steps"]) == (0.02, 33)
    run = resolve(dataclasses.replace(run, attack=Choice("rmd", {"inner_steps": 5})))
    assert (run.attack.options["inner_rate"], run.attack.options["inner_steps"]) == (0.02, 5)


def test_lambda_brings_the_penalty():
    assert resolve(Run()).reg == "none"
    assert resolve(Run(lambda_=0.1)).reg == "l2"
    assert resolve(Run(learn_lambda=True)).reg == "l2"
    assert resolve(Run(learn_lambda=True, reg="l1")).reg == "l1"


def test_what_is_not_named_fits_the_data_set():
    cases = (
        (Run(), "logistic", "rmd", 0.35, None),
        (Run(dataset="boston"), "linear", "stealthy", 0.45, None),  # type: ignore[arg-type]
        (Run(dataset="enron"), "svm", "kkt", 0.03, 0.09),  # type: ignore[arg-type]
        (Run(dataset="imdb", attack="minmax"), "svm", "minmax", 0.03, 0.01),  # type: ignore[arg-type]
        (Run(dataset="enron", lambda_=0.5), "svm", "kkt", 0.03, 0.5),  # type: ignore[arg-type]
        (Run(dataset="mnist-10"), "multisvm", "minmax", 0.03, None),  # type: ignore[arg-type]
        (Run(dataset="mnist-1-7", attack="rmd"), "logistic", "rmd", 0.35, None),  # type: ignore[arg-type]
        (Run(model="svm", lambda_=0.1), "svm", "kkt", 0.03, 0.1),  # type: ignore[arg-type]
    )
    for run, *expected in cases:
        found = resolve(run)
        assert [found.model.name, found.attack.name, found.fraction, found.lambda_] == expected


@pytest.mark.parametrize("kind", description.TABLES)
def test_resolving_fills_in_every_option(kind):
    for name, made in description.TABLES[kind].items():
        options = {"path": "rows.csv"} if name == "file" else {}
        choice = getattr(resolve(Run(**{kind: Choice(name, options)})), kind)
        assert set(choice.options) == {field.name for field in dataclasses.fields(made)}
        assert isinstance(build(choice, kind), made)


BAD = {
    "no attack named 'nothing'": Run(attack="nothing"),
    "no model named": Run(model="forest"),
    "no dataset named": Run(dataset="imagenet"),
    "no trainer named": Run(trainer="lbfgs"),
    "has no option 'steps'": Run(attack=Choice("rmd", {"steps": 3})),
    "takes none": Run(model=Choice("logistic", {"hidden": 3})),
    "outer_steps is 'many': give a whole number": Run(attack=Choice("rmd", {"outer_steps": "many"})),
    "outer_steps is '2.5'": Run(attack=Choice("rmd", {"outer_steps": 2.5})),
    "outer_steps is 'inf'": Run(attack=Choice("rmd", {"outer_steps": math.inf})),
    "outer_rate is 'None': give a number": Run(attack=Choice("rmd", {"outer_rate": None})),
    "outer_steps is 0": Run(attack=Choice("rmd", {"outer_steps": 0})),
    r"outer_rate is 0: it must lie in \(0": Run(attack=Choice("rmd", {"outer_rate": 0})),
    "outer_rate is 'nan'": Run(attack=Choice("rmd", {"outer_rate": math.nan})),
    "outer_rate is inf": Run(attack=Choice("rmd", {"outer_rate": math.inf})),
    r"inner_rate is 150: it must lie in \[0, 100\]": Run(attack=Choice("rmd", {"inner_rate": 150})),
    "log_lambda_start is 'nan'": Run(attack=Choice("rmd", {"log_lambda_start": math.nan})),
    "log_lambda_min is 2.0": Run(attack=Choice("rmd", {"log_lambda_min": 2, "log_lambda_max": 1})),
    "batch is -1": Run(attack=Choice("rmd", {"batch": -1})),
    "there is no dataset named ''": Run(dataset=Choice("")),
    "choose one of point, batch, none": Run(attack=Choice("rmd", {"normalize": "rows"})),
    "rate is -0.1": Run(trainer=Choice("sgd", {"rate": -0.1})),
    "epochs is -1": Run(trainer=Choice("sgd", {"epochs": -1})),
    "hidden is 0": Run(model=Choice("mlp", {"hidden": "8,0"})),
    "hidden is 'wide': give whole numbers with commas": Run(model=Choice("mlp", {"hidden": "wide"})),
    "hidden is '.2.5, 3.'": Run(model=Choice("mlp", {"hidden": [2.5, 3]})),
    "leak is 2: it must lie in": Run(model=Choice("mlp", {"leak": 2})),
    "--reg l3 is unknown": Run(reg="l3", lambda_=1.0),
    "contradict each other": Run(lambda_=1.0, learn_lambda=True),
    "--lambda -1.0": Run(lambda_=-1.0),
    "--lambda nan": Run(lambda_=math.nan),
    "--lambda inf": Run(lambda_=math.inf),
    "--reg l2 needs a strength": Run(reg="l2"),
    "--reg none has no lambda": Run(reg="none", lambda_=0.1),
    "add --learn-lambda": Run(per_layer=True),
    "does not learn lambda": Run(attack="flip", learn_lambda=True),
    "--fraction 0.0": Run(fraction=0.0),
    "--fraction 1": Run(fraction=1),
    "--fraction nan": Run(fraction=math.nan),
    "--reps 0": Run(repetitions=0),
    "--seed -1": Run(seed=-1),
    "--seed 4294967296": Run(seed=2**32),
    "--n-train -5 is negative": Run(n_train=-5),
    "--n-val -5 is negative": Run(n_val=-5),
    "--n-test -5 is negative": Run(n_test=-5),
    "needs a path": Run(dataset="file"),
    "outer_steps is 'True': give a whole number": Run(attack=Choice("rmd", {"outer_steps": True})),
    "outer_rate is 'True': give a number": Run(attack=Choice("rmd", {"outer_rate": True})),
    "outer_steps is '1.5': give a whole number in": Run(attack=Choice("rmd", {"outer_steps": "1.5"})),
    "outer_steps is 2147483648: it must be at most 2147483647": Run(attack=Choice("rmd", {"outer_steps": 2**31})),
    "hidden is 'True, 3'": Run(model=Choice("mlp", {"hidden": "True, 3"})),
    "tolerance is 'nan'": Run(attack=Choice("rmd", {"tolerance": "nan"})),
    "warm is 'perhaps': give true or false": Run(attack=Choice("rmd", {"warm": "perhaps"})),
    "--reps 10001": Run(repetitions=10_001),
}


def sentence(error) -> str:
    """The message, after checks that it is one sentence with a cure after a colon."""
    text = str(error.value)
    assert "\n" not in text
    assert ": " in text
    assert not text.endswith(".")
    return text


@pytest.mark.parametrize("problem", BAD)
def test_bad_values_are_refused_in_a_sentence_with_a_cure(problem):
    with pytest.raises(PoisonError, match=problem) as error:
        resolve(BAD[problem])
    sentence(error)


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


finite = st.floats(0.01, 1)
runs = st.builds(
    Run,
    dataset=st.sampled_from([name for name in DATASETS if name != "file"]).map(Choice)
    | st.builds(lambda path, target: Choice("file", {"path": path, "target": target}), st.text(), st.text())
    | st.lists(st.integers(0, 9), max_size=4).map(lambda found: Choice("digits", {"classes": tuple(found)})),
    model=st.just(Choice("logistic"))
    | st.builds(
        lambda hidden, leak: Choice("mlp", {"hidden": tuple(hidden), "leak": leak}),
        st.lists(st.integers(1, 99), max_size=3),
        finite,
    ),
    trainer=st.builds(
        lambda rate, epochs: Choice("sgd", {"rate": rate, "epochs": epochs}), finite, st.integers(1, 999)
    ),
    attack=st.just(Choice("flip")) | finite.map(lambda rate: Choice("rmd", {"outer_rate": rate})),
    lambda_=st.none() | st.floats(0, 1e6),
    fraction=st.floats(1e-6, 0.999),
    n_train=st.integers(0, 10**6),
    repetitions=st.integers(1, 99),
    seed=st.integers(0, 2**32 - 1),
) | st.builds(
    Run, learn_lambda=st.just(True), per_layer=st.booleans(), reg=st.sampled_from(["", "l1", "l2"]), fraction=finite
).filter(lambda run: run.fraction < 1)


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


@pytest.mark.parametrize(("text", "number"), [("7", 7), ("1e3", 1000), (4.0, 4), (str(2**32 - 1), 2**32 - 1)])
def test_whole_numbers_are_read_exactly(text, number):
    assert from_mapping({"seed": text}).seed == number


@given(runs)
def test_resolving_twice_changes_nothing(run):
    assert resolve(resolve(run)) == resolve(run)


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


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mnist", Choice("mnist")),
        ("rows.csv", Choice("file", {"path": "rows.csv"})),
        ("./mnist", Choice("file", {"path": "./mnist"})),
        ("unheard", Choice("unheard")),
    ],
)
def test_a_path_is_a_file(name, expected):
    assert named("dataset", name) == expected
