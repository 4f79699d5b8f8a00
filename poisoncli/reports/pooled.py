"""Runs that differ in their seed alone, as one run with all their repetitions."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from poisoncli.core.data import Sparse
from poisoncli.runs.run_file import RunFile

_OF_A_RUN = ("counts", "done", "total")  # what poison has for all repetitions


def pooled(contents: Sequence[RunFile]) -> RunFile | None:
    """One content with the repetitions of all, for figures; None where their stages or shapes differ.

    The victims from outside are left out, and a search's progress is that of the first.
    """
    first = contents[0]
    if len(contents) == 1:
        return first
    if any(not np.array_equal(one.poison.counts, first.poison.counts) for one in contents):
        return None
    names = set.intersection(*(set(one.evaluations) for one in contents))
    tried = set.intersection(*(set(one.defenses) for one in contents))
    run = json.loads(first.run)
    run["repetitions"] = sum(json.loads(one.run)["repetitions"] for one in contents)
    try:
        poison = {
            name: value if name in _OF_A_RUN else _joined([getattr(one.poison, name) for one in contents])
            for name, value in first.poison._asdict().items()
        }
        return dataclasses.replace(
            first,
            run=json.dumps(run),
            split=_all([one.split for one in contents]),
            poison=first.poison._replace(**poison),
            evaluations={
                name: dataclasses.replace(known, **_all([vars(one.evaluations[name]) for one in contents]))
                for name, known in first.evaluations.items()
                if name in names
            },
            defenses={
                name: dataclasses.replace(
                    known,
                    weight=_joined([one.defenses[name].weight for one in contents]),
                    score=_joined([one.defenses[name].score for one in contents]),
                )
                for name, known in first.defenses.items()
                if name in tried
            },
            rounding=_all([one.rounding for one in contents]),
            victims=(),
        )
    except ValueError:  # shapes that do not go together
        return None


def _all(trees: Sequence[Any]) -> Any:
    """Trees of arrays, joined leaf by leaf."""
    return jax.tree.map(lambda *leaves: _joined(leaves), *trees)


def _joined(arrays: Sequence[Any]) -> Any:
    """Arrays with their repetitions behind each other."""
    if isinstance(arrays[0], Sparse):
        return Sparse(part for rows in arrays for part in rows)
    return np.concatenate(arrays)
