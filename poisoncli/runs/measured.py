"""What a run file keeps of its test rows beyond the error: measures of the victim, and of victims from outside.

They stand in groups of their own, which readers of older versions pass over.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from poisoncli.runs import hdf5
from poisoncli.training.metrics import METRICS

Measures = dict[str, np.ndarray]  # by metric [repetitions, stages]; recall [repetitions, stages, classes]


@dataclasses.dataclass(frozen=True)
class Measured:
    """A model of the user's own, trained on the rows of every stage.

    name: in tables; source: where it is, `module:name` or `file.py:name`. options: those set by `-o`, JSON.
    seeds: of each repetition, for its `random_state`.
    measures: of the test rows behind each defense, `none` without one; NaN where the training failed.
    """

    name: str
    source: str
    options: str
    seeds: tuple[int, ...]
    measures: dict[str, Measures]


def write(file: Any, content: Any) -> None:
    """Add the groups `metrics` and `victims` to the HDF5 file of a `RunFile`."""
    for name, evaluation in content.evaluations.items():
        if evaluation.metrics:
            hdf5.put(file.create_group(f"metrics/{name}"), evaluation.metrics)
    if content.classes:
        file.require_group("metrics").attrs["classes"] = json.dumps(content.classes)
    for number, victim in enumerate(content.victims):
        group = file.create_group(f"victims/{number}")
        about = {"name": victim.name, "source": victim.source, "options": json.loads(victim.options)}
        group.attrs["victim"] = json.dumps({**about, "seeds": victim.seeds})
        for name, measures in victim.measures.items():
            hdf5.put(group.create_group(name), measures)


def read_metrics(file: Any, defense: str) -> Measures:
    """The measures of the victim behind a defense; empty in older files."""
    group = file.get("metrics", {}).get(defense, {})
    return {name: hdf5.read(item, name) for name, item in group.items() if name in METRICS}


def read_classes(file: Any) -> tuple[str, ...]:
    """What the user calls the classes; empty where the file does not say."""
    listed = file["metrics"].attrs.get("classes", "[]") if "metrics" in file else "[]"
    return tuple(map(str, json.loads(listed)))


def read_victims(file: Any) -> Iterator[Measured]:
    """The victims from outside that the file holds."""
    groups = file.get("victims", {})
    for number in range(len(groups)):
        group = groups[str(number)]
        about = json.loads(group.attrs["victim"])
        yield Measured(
            name=str(about["name"]),
            source=str(about["source"]),
            options=json.dumps(dict(about["options"])),
            seeds=tuple(map(int, about["seeds"])),
            measures={
                name: {one: hdf5.read(item, one) for one, item in found.items() if one in METRICS}
                for name, found in group.items()
            },
        )


def check(content: Any, stages: tuple[int, int]) -> None:
    """Raise `ValueError` unless the measures of a `RunFile` have its repetitions and stages."""
    found = [evaluation.metrics for evaluation in content.evaluations.values()]
    for victim in content.victims:
        if not set(victim.measures) <= {"none", *content.defenses} or len(victim.seeds) != stages[0]:
            raise ValueError("the victims are those of another run")
        found += victim.measures.values()
    for measures in found:
        for name, values in measures.items():
            shape = (*stages, len(content.classes)) if name == "recall" else stages
            if values.dtype.kind != "f" or values.shape != shape:
                raise ValueError(f"the measures do not go together: {name}")
