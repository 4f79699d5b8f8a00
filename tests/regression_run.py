"""A small stealthy attack on the diabetes data."""

import poisoncli
from poisoncli import Choice, Run
from poisoncli.runs import description, prepare
from poisoncli.runs import problem as problems

SMALL = {"outer_steps": 4, "inner_steps": 20, "batch": 9}

RUN = Run(dataset=Choice("diabetes"), attack=Choice("stealthy", SMALL), repetitions=2, n_train=60, fraction=0.3)


def crafted(tmp_path, run=RUN, name="run.h5", **changes):
    options = {**run.attack.options, **changes}
    return poisoncli.attack(
        poisoncli.Run(**{**run.__dict__, "attack": Choice(run.attack.name, options)}), tmp_path / name
    )


def problem():
    """What the attack sees of it: two repetitions of 60 rows with real targets."""
    return problems.problem(prepare.prepare(description.resolve(RUN)))
