"""Defaults: of the papers, of the targets and of the data set."""

from poisoncli import Choice, Run
from poisoncli.runs import description


def test_names_follow_the_task():
    run = description.resolve(Run(dataset=Choice("boston")))
    assert (run.model.name, run.attack.name, run.fraction) == ("linear", "stealthy", 0.45)
    found = {name: run.attack.options[name] for name in ("outer_steps", "outer_rate", "inner_steps", "batch")}
    assert found == {"outer_steps": 100, "outer_rate": 0.9, "inner_steps": 40, "batch": 19}  # SPR Table II
    deep = description.resolve(Run(dataset=Choice("heart"), model=Choice("mlp")))
    assert (deep.attack.options["outer_steps"], deep.trainer.options["epochs"]) == (80, 100)
    assert deep.model.options["hidden"] == (32, 8)
