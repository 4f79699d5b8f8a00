"""Runs by names and options: defaults of the papers, and one sentence for every bad value."""

import dataclasses
import math

import pytest
from described import runs, sentence
from hypothesis import given

from poisoncli.core.errors import PoisonError
from poisoncli.runs import description
from poisoncli.runs.description import Choice, Run, build, named, resolve
from poisoncli.runs.serialize import from_mapping

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


@pytest.mark.parametrize("problem", BAD)
def test_bad_values_are_refused_in_a_sentence_with_a_cure(problem):
    with pytest.raises(PoisonError, match=problem) as error:
        resolve(BAD[problem])
    sentence(error)


@pytest.mark.parametrize(("text", "number"), [("7", 7), ("1e3", 1000), (4.0, 4), (str(2**32 - 1), 2**32 - 1)])
def test_whole_numbers_are_read_exactly(text, number):
    assert from_mapping({"seed": text}).seed == number


@given(runs)
def test_resolving_twice_changes_nothing(run):
    assert resolve(resolve(run)) == resolve(run)


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
