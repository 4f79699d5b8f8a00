"""What victims from outside are called beside each other; their tables and figures: `runs/test_victims.py`."""

import types

import numpy as np

from poisoncli.reports import transfer
from poisoncli.runs.measured import Measured


def called(*victims):
    return transfer.names(types.SimpleNamespace(victims=[Measured(*one, (0,), {}) for one in victims]))


def test_a_name_that_is_one_victims_alone_is_enough():
    assert called(("Forest", "a:Forest", "{}"), ("Linear", "b:Linear", '{"C": 3}')) == ["Forest", "Linear"]


def test_victims_of_one_name_are_told_apart_by_their_options_or_their_source():
    assert called(("Forest", "a:Forest", '{"depth": 3}'), ("Forest", "a:Forest", '{"depth": 5}')) == [
        "Forest(depth=3)",
        "Forest(depth=5)",
    ]
    assert called(("Forest", "a:Forest", "{}"), ("Forest", "b:Forest", "{}")) == ["a:Forest {}", "b:Forest {}"]


def test_a_training_that_failed_leaves_no_mean():
    assert np.isnan(transfer._mean(np.array([0.5, np.nan]))[0])
    mean, error = transfer._mean(np.array([0.4, 0.6]))
    np.testing.assert_allclose([mean, error], [0.5, 0.1])
