"""Run files without a penalty, with a fixed one, and of a network with a lambda for each layer; crafted once."""

import dataclasses

import pytest
from measured import BASE

import poisoncli
from poisoncli import Choice


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Run files without a penalty, with a fixed one, and of a network with a lambda for each layer."""
    place = tmp_path_factory.mktemp("measures")
    runs = {
        "none": BASE,
        "fixed": dataclasses.replace(BASE, lambda_=0.3),
        "layers": dataclasses.replace(BASE, model=Choice("mlp"), learn_lambda=True, per_layer=True),
    }
    for name, run in runs.items():
        poisoncli.evaluate(poisoncli.attack(run, place / f"{name}.h5"))
    return place


@pytest.fixture
def content(folder):
    return lambda name: poisoncli.read(folder / f"{name}.h5")
