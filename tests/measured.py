"""A small run whose weights are measured and drawn."""

from poisoncli import Choice, Run

BASE = Run(
    attack=Choice("rmd", {"outer_steps": 12, "inner_steps": 10, "batch": 12}),
    trainer=Choice("sgd", {"epochs": 20}),
    n_train=80,
    n_val=20,
    n_test=60,
    fraction=0.3,
    repetitions=2,
)
