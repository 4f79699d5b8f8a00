"""What defend and evaluate add to a run file, which is read again under a lock: no writer loses another's."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from poisoncli.core.data import Sparse
from poisoncli.core.errors import FailedError, PoisonError
from poisoncli.runs import plugins, run_file
from poisoncli.runs.run_file import Defended, Evaluation, RunFile
from poisoncli.tables import atomic
from poisoncli.tables.lock import writing


def check_writable(path: Path) -> None:
    """Raise `PoisonError` if a run file cannot be changed, before there is anything to be lost."""
    if not atomic.writable(path):
        raise PoisonError(f"{path} cannot be changed: make the file and its folder writable, or copy it elsewhere")


def with_defense(content: RunFile, name: str, defended: Defended) -> RunFile:
    """`content` with the weights of a defense; what its former self with other options led to is dropped."""
    evaluations = {other: kept for other, kept in content.evaluations.items() if other != name}
    victims = tuple(
        dataclasses.replace(one, measures={other: kept for other, kept in one.measures.items() if other != name})
        for one in content.victims
    )
    defenses = {**content.defenses, name: defended}
    from_outside = {**content.plugins, **plugins.sources({"defense": name})}
    return dataclasses.replace(
        content, defenses=defenses, evaluations=evaluations, victims=victims, plugins=from_outside
    )


def add_defense(path: Path, read: RunFile, name: str, defended: Defended) -> RunFile:
    """Write the weights that a defense gave the rows of `read` to the run file, as it is now."""

    def change(now: RunFile) -> RunFile:
        found, before = now.defenses.get(name), read.defenses.get(name)
        if found is not None and found.choice == defended.choice:
            return now
        if found is not None and (before is None or before.choice != found.choice):
            warnings.warn(
                f"{path}: another command put {name} with other options there meanwhile; these take their place",
                stacklevel=4,
            )
        return with_defense(now, name, defended)

    return _update(path, read, change)


def add_evaluations(path: Path, read: RunFile, found: Mapping[str, Evaluation]) -> RunFile:
    """Write evaluations of `read` to the run file, as it is now."""

    def change(now: RunFile) -> RunFile:
        evaluations, new = dict(now.evaluations), False
        for name, evaluation in found.items():
            if name != "none" and not _same_defense(now, read, name):
                warnings.warn(
                    f"{path}: another command changed the weights of {name} meanwhile: evaluate it again",
                    stacklevel=4,
                )
            elif name not in evaluations or not evaluations[name].metrics:  # older versions kept no measures
                evaluations[name], new = evaluation, True
        return dataclasses.replace(now, evaluations=evaluations, classes=read.classes) if new else now

    return _update(path, read, change)


def add_victims(path: Path, read: RunFile) -> RunFile:
    """Write the victims from outside that were measured on `read` to the run file, as it is now."""

    def change(now: RunFile) -> RunFile:
        found = {(one.source, one.options): one for one in now.victims}
        for one in read.victims:
            sound = {
                name: values
                for name, values in one.measures.items()
                if name == "none" or _same_defense(now, read, name)
            }
            known = found.get((one.source, one.options), one)
            found[one.source, one.options] = dataclasses.replace(one, measures={**known.measures, **sound})
        return dataclasses.replace(now, victims=tuple(found.values()), classes=read.classes)

    return _update(path, read, change)


def _update(path: Path, read: RunFile, change: Callable[[RunFile], RunFile]) -> RunFile:
    """The run file's content after `change`, which is written if it is another one.

    Raises `FailedError` if another run took the place of `read` meanwhile.
    """
    with writing(path):
        now = run_file.read(path)
        if not _same_run(now, read):
            raise FailedError(
                f"{path} was replaced by another run meanwhile, and stays as it is: repeat the command"
            )
        content = change(now)
        if content is not now:
            run_file.write(path, content)
    return content


def _same_run(now: RunFile, read: RunFile) -> bool:
    return now.run == read.run and now.sha256 == read.sha256 and all(map(_equal, now.poison, read.poison))


def _same_defense(now: RunFile, read: RunFile, name: str) -> bool:
    found, before = now.defenses.get(name), read.defenses[name]
    return found is not None and found.choice == before.choice and _equal(found.weight, before.weight)


def _equal(one: object, other: object) -> bool:
    """Whether two fields of a run file hold the same bits."""
    if isinstance(one, Sparse) and isinstance(other, Sparse):
        pairs = zip(one, other, strict=False)
        parts = ("data", "indices", "indptr")
        return len(one) == len(other) and all(_equal(getattr(a, p), getattr(b, p)) for a, b in pairs for p in parts)
    first, second = np.asarray(one), np.asarray(other)
    return first.shape == second.shape and first.tobytes() == second.tobytes()
