"""Data sets made ready: splits, scales, and what does not fit."""

import pytest

from poisoncli import Choice, PoisonError, Run
from poisoncli.runs import description, prepare


def test_classes_and_real_targets_are_not_mixed_up():
    for run, word in (
        (Run(dataset=Choice("diabetes"), model=Choice("logistic")), "--model linear"),
        (Run(dataset=Choice("diabetes"), attack=Choice("rmd")), "--method .*stealthy"),
        (Run(model=Choice("linear")), "two classes"),
    ):
        with pytest.raises(PoisonError, match=word):
            prepare.prepare(description.resolve(run))
