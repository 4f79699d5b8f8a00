"""Problems with several settings, some of them at a time; see `Problem.settings`."""

from __future__ import annotations

import numpy as np

from poisoncli.core.attack import Poison, Problem

_OWN = ("x", "y", "log_lambda", "loss", "scales", "trail")  # of a `Poison`, what each setting has for itself


def of_settings(problem: Problem, chosen: np.ndarray) -> Problem:
    """`problem` with these of its settings [c] alone."""
    entries = _entries(len(problem.train.y), chosen, problem.settings)
    return problem._replace(
        log_lambda=problem.log_lambda[entries.ravel()],
        learn=problem.learn[chosen],
        clean_only=np.broadcast_to(problem.clean_only, problem.learn.shape)[chosen],
        varied={name: values[chosen] for name, values in problem.varied.items()},
        settings=len(chosen),
    )


def entries_of(poison: Poison, chosen: np.ndarray, settings: int) -> Poison:
    """`poison` of so many settings, of these [c] alone."""
    entries = _entries(len(poison.replaced), chosen, settings).ravel()
    return poison._replace(**{name: getattr(poison, name)[entries] for name in _OWN})


def with_entries(poison: Poison, found: Poison, changed: np.ndarray, source: np.ndarray, settings: int) -> Poison:
    """`poison` of so many settings, where those that are `changed` take their `source` in `found`; a copy."""
    repetitions = len(poison.replaced)
    into = _entries(repetitions, changed, settings)
    out = _entries(repetitions, source, len(found.x) // repetitions)
    whole = {name: getattr(poison, name).copy() for name in _OWN}
    for name, leaf in whole.items():
        leaf[into] = getattr(found, name)[out]
    return poison._replace(**whole, done=found.done)


def _entries(repetitions: int, chosen: np.ndarray, settings: int) -> np.ndarray:
    """Where the settings `chosen` [c] of each repetition stand [repetitions, c]."""
    return np.arange(repetitions)[:, None] * settings + chosen
