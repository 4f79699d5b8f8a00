"""Victims from outside on a run's rows: what poison does to them that was made for another model."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from poisoncli.core.errors import FailedError, PoisonError
from poisoncli.runs import run_file, update
from poisoncli.runs.export import feature_units, in_users_terms, labels, target_units
from poisoncli.runs.measured import Measured
from poisoncli.runs.poisoned import poisoned
from poisoncli.runs.prepare import Prepared, class_names, restore
from poisoncli.runs.progress import Report
from poisoncli.runs.run_file import RunFile
from poisoncli.tables.write import with_cells
from poisoncli.training import outside, own_models
from poisoncli.training.cores import usable_cores
from poisoncli.training.metrics import METRICS
from poisoncli.training.outside import Lesson, Outcome
from poisoncli.training.own_models import Victim

LOG = logging.getLogger(__name__)
LARGEST_SEED = 2**31  # that all libraries take


class _Cell(NamedTuple):
    """One training: which victim, behind which defense, in which repetition, at which stage."""

    victim: int
    defense: str
    repetition: int
    stage: int


def measure(
    content: RunFile,
    victims: Sequence[Victim],
    *,
    data_dir: str | None = None,
    report: Report = lambda done, total, what: None,
) -> RunFile:
    """Train victims from outside on the clean and the poisoned rows of every stage, behind every defense.

    Each model is trained anew for each cell, with the run's seed plus the number of the repetition for its
    `random_state`. What the file holds already is kept. A training that fails leaves NaN, with a warning. Raises
    `PoisonError` for a victim that is no model, before any is trained.
    """
    for victim in victims:
        own_models.build(victim)
    prepared = restore(content, data_dir)
    content = dataclasses.replace(content, classes=class_names(prepared.run, prepared.dataset))
    known, cells = list(content.victims), []
    places = [_place(known, victim, _seeds(prepared)) for victim in victims]
    shape = (prepared.run.repetitions, len(content.poison.counts))
    for place in places:
        wanted = [name for name in ("none", *content.defenses) if not _complete(known[place], name)]
        cells += [_Cell(place, name, r, s) for name in wanted for s in range(shape[1]) for r in range(shape[0])]
    tables = {place: Victim(known[place].source, json.loads(known[place].options)) for place in places}
    lessons = _Lessons(prepared, content)
    outcomes: dict[_Cell, Outcome] = {}
    try:
        for cell, outcome in _train(cells, tables, lessons):
            outcomes[cell] = outcome
            report(len(outcomes), len(cells), "training the victims")
    except Exception as error:
        if type(error).__name__ != "TerminatedWorkerError":
            raise
        raise FailedError(
            "a victim's process died, perhaps for want of memory: take fewer rows or victims"
        ) from None
    _say(outcomes, tables)
    for place in places:
        found = _gathered(outcomes, place, shape, content)
        known[place] = dataclasses.replace(known[place], measures={**known[place].measures, **found})
    return dataclasses.replace(content, victims=tuple(known))


def add(
    path: str | Path,
    victims: Sequence[Victim],
    *,
    content: RunFile | None = None,
    data_dir: str | None = None,
    save: bool = True,
    report: Report = lambda done, total, what: None,
) -> RunFile:
    """`measure` on a run file, which keeps the result unless `save` is false or it cannot be written.

    content: what the file holds, with what could not be written there; None to read it.
    """
    found = measure(content or run_file.read(path), victims, data_dir=data_dir, report=report)
    if not save:
        return found
    try:
        update.check_writable(Path(path))
        return update.add_victims(Path(path), found)
    except PoisonError as error:
        warnings.warn(f"the victims were not saved: {error}", stacklevel=2)
        return found


def failed(content: RunFile, victims: Sequence[Victim]) -> bool:
    """Whether a training of these victims failed."""
    return any(
        np.isnan(one.measures[name][_main(content)]).any()
        for one in content.victims
        for name in one.measures
        if any(_is(one, victim) for victim in victims)
    )


def _main(content: RunFile) -> str:
    return "nmse" if content.real else "error"


def _is(one: Measured, victim: Victim) -> bool:
    return one.source == victim.source and one.options == json.dumps(
        dict(victim.options), sort_keys=True, default=str
    )


def _place(known: list[Measured], victim: Victim, seeds: tuple[int, ...]) -> int:
    """Where a victim stands in the list, at its end if it is new."""
    for number, one in enumerate(known):
        if _is(one, victim):
            return number
    options = json.dumps(dict(victim.options), sort_keys=True, default=str)
    known.append(Measured(victim.name, victim.source, options, seeds, {}))
    return len(known) - 1


def _seeds(prepared: Prepared) -> tuple[int, ...]:
    return tuple((prepared.run.seed + r) % LARGEST_SEED for r in range(prepared.run.repetitions))


def _complete(one: Measured, defense: str) -> bool:
    found = one.measures.get(defense)
    return found is not None and not any(np.isnan(found[name]).any() for name in ("error", "nmse") if name in found)


class _Lessons:
    """The rows of the cells, in the data set's own units."""

    def __init__(self, prepared: Prepared, content: RunFile) -> None:
        self.prepared, self.content, self.labels = prepared, content, _labels(prepared, content)

    def __call__(self, cell: _Cell) -> Lesson:
        """The rows that a defense leaves at a stage, and the test rows."""
        prepared, content, (_, defense, r, stage) = self.prepared, self.content, cell
        data, is_poison, _ = poisoned(prepared.split.train, content.poison, stage)
        weight = np.asarray(data.weight[r])
        if defense != "none":
            weight = weight * content.defenses[defense].weight[r, stage]
        kept, test = weight > 0, content.split["test"][r]
        places = content.split["train"][r]
        places = np.append(places, np.full(len(weight) - len(places), -1))  # added rows stand in for none
        rows = (data.x[r][kept], data.y[r][kept], places[kept], is_poison[r][kept], r)
        x, plain_x = _tables(prepared, *rows)
        test_x, plain_test_x = _test_tables(prepared, test, r)
        y_scale = [
            np.broadcast_to(one, len(content.split["test"]))[r] for one in (prepared.y_shift, prepared.y_scale)
        ]
        return Lesson(
            x=x,
            y=target_units(prepared, *rows[1:]),
            weight=weight[kept],
            test_x=test_x,
            test_y=prepared.dataset.y[test],
            labels=self.labels,
            shift=float(y_scale[0]),
            scale=float(y_scale[1]),
            plain=None if plain_x is None else (plain_x, plain_test_x),
        )


def _labels(prepared: Prepared, content: RunFile) -> tuple[Any, ...]:
    """The classes as a model is given them, as the user's file has them; none for real targets."""
    if prepared.task == "real":
        return ()
    if prepared.dataset.class_names:
        return tuple(labels(prepared.dataset).tolist())
    whole = all(name.removeprefix("-").isdecimal() for name in content.classes)
    return tuple(map(int, content.classes)) if whole else content.classes


def _tables(
    prepared: Prepared, x: Any, y: np.ndarray, places: np.ndarray, poison: np.ndarray, r: int
) -> tuple[Any, Any]:
    """Training rows as a table, that of the user where there is one; then also as features, else None."""
    features = feature_units(prepared, x, places, poison, r)
    if prepared.encoder is None:
        return _named(prepared, features), None
    frame, _ = in_users_terms(prepared, x, y, places, poison, r)
    return frame[[column.name for column in prepared.dataset.table.columns]], _named(prepared, features)


def _test_tables(prepared: Prepared, test: np.ndarray, r: int) -> tuple[Any, Any]:
    """As `_tables`, of the test rows."""
    if prepared.encoder is None:
        return _named(prepared, prepared.dataset.x[test]), None
    table = prepared.dataset.table
    frame = with_cells(table.frame.iloc[test], np.zeros(len(test), bool), {}, table.columns)
    return frame[[column.name for column in table.columns]], _named(prepared, prepared.encoder.take(test, r))


def _named(prepared: Prepared, x: Any) -> Any:
    """Features as a pandas frame with their names, those of the export; sparse ones as they are."""
    if sp.issparse(x):
        return x
    import pandas as pd

    encoder = prepared.encoder
    return pd.DataFrame(x, columns=encoder.names if encoder else [f"x{number}" for number in range(x.shape[1])])


def _train(
    cells: Sequence[_Cell], victims: dict[int, Victim], lessons: _Lessons
) -> Iterator[tuple[_Cell, Outcome]]:
    """Train all cells, on all cores."""
    cores = min(usable_cores(), len(cells))
    seeds = _seeds(lessons.prepared)
    if cores <= 1:
        for cell in cells:
            yield cell, outside.train(victims[cell.victim], seeds[cell.repetition], lessons(cell))
        return
    import joblib

    jobs = (
        joblib.delayed(outside.train_one)(
            number, victims[cell.victim], seeds[cell.repetition], lessons(cell), os.getcwd()
        )
        for number, cell in enumerate(cells)
    )
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        done: Any = joblib.Parallel(n_jobs=cores, return_as="generator_unordered", max_nbytes=None)(jobs)
        for number, outcome in done:
            yield cells[number], outcome


def _gathered(
    outcomes: dict[_Cell, Outcome], place: int, shape: tuple[int, int], content: RunFile
) -> dict[str, dict[str, np.ndarray]]:
    """The measures of a victim by defense, in arrays [repetitions, stages]; NaN where a training failed."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for cell, outcome in outcomes.items():
        if cell.victim != place:
            continue
        if cell.defense not in found:
            keys = [key for key, metric in METRICS.items() if metric.real == content.real]
            sizes = {key: (*shape, len(content.classes)) if key == "recall" else shape for key in keys}
            found[cell.defense] = {key: np.full(size, np.nan) for key, size in sizes.items()}
        for key, value in outcome.measures.items():
            found[cell.defense][key][cell.repetition, cell.stage] = value
    return found


def _say(outcomes: dict[_Cell, Outcome], victims: dict[int, Victim]) -> None:
    """What failed, and what the models remarked."""
    for number, victim in victims.items():
        own = [(cell, one) for cell, one in outcomes.items() if cell.victim == number]
        for problem, count in Counter(one.problem for _, one in own if one.problem).items():
            first = next(cell for cell, one in own if one.problem == problem)
            warnings.warn(
                f"{victim.name}: {count} of {len(own)} trainings failed, first in repetition {first.repetition} at "
                f"stage {first.stage}, defense {first.defense}: {problem}",
                stacklevel=3,
            )
        for remark in dict.fromkeys(remark for _, one in own for remark in one.remarks):
            LOG.info("%s: %s", victim.name, remark)
