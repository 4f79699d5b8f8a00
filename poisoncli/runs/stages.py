"""The stages of a run: attack, defend, evaluate; they wire names to methods, own the keys, files, progress."""

from __future__ import annotations

import dataclasses
import functools
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Data, Sparse
from poisoncli.core.defense import Clues
from poisoncli.core.errors import FailedError, Interrupted, PoisonError
from poisoncli.runs import (
    defaults,
    description,
    plugins,
    rounding,
    run_file,
    serialize,
    soundness,
    stage_scores,
    update,
)
from poisoncli.runs.description import Choice, Run
from poisoncli.runs.poisoned import poisoned
from poisoncli.runs.prepare import ATTACKING, DEFENDING, Prepared, class_names, named_by_rows, prepare, restore
from poisoncli.runs.problem import problem
from poisoncli.runs.progress import Report
from poisoncli.runs.run_file import Defended, Evaluation, RunFile
from poisoncli.tables.atomic import check_replaceable
from poisoncli.tables.lock import writing

CHECKPOINT_SECONDS = 20.0  # between two checkpoints within a batch


def attack(
    run: Run,
    out: str | Path = "run.h5",
    *,
    data_dir: str | None = None,
    force: bool = False,
    resume: bool = False,
    report: Report = lambda done, total, what: None,
) -> Path:
    """Craft poison and write a run file to `out`.

    force: replace an existing file. resume: go on from the checkpoint `out`.partial, if there is one; the
    result is the same to the bit as without the interruption.
    report: called with the steps done, the steps in all, and what is being done.

    Returns the path. Raises `PoisonError` for a wrong request and `FailedError` if the attack diverges or the
    disk is full, and `Interrupted` where an interruption leaves a checkpoint.
    """
    path = Path(out)
    partial = checkpoint(path)
    _check_place(path, force, resume)
    run = description.resolve(named_by_rows(run, data_dir))
    description.check_penalty(run)
    try:
        with writing(partial, wait=resume, shown=path):
            _check_free(path, partial, force or resume)
            return _attack(run, path, partial, data_dir, resume, report)
    except KeyboardInterrupt:
        if not partial.exists():
            raise
        raise Interrupted(f"interrupted: the same command with --resume goes on from {partial}") from None


def checkpoint(path: Path) -> Path:
    """Where an attack that will write `path` keeps its work in progress."""
    return path.parent / (path.name + ".partial")


def _attack(run: Run, path: Path, partial: Path, data_dir: str | None, resume: bool, report: Report) -> Path:
    prepared = prepare(run, data_dir)
    content = fresh(prepared)
    if resume and path.exists():
        same_run(run_file.read(path), content, path)
        partial.unlink(missing_ok=True)
        return path
    begun = None
    if resume and partial.exists():
        found = run_file.read(partial, unfinished=True)
        same_run(found, content, partial)
        begun, content = found.poison, dataclasses.replace(content, timeline=found.timeline)
    task = problem(prepared)
    content = craft(prepared, task, content, begun, partial, report)
    if prepared.domain is not None:  # what follows takes time too
        run_file.write(partial, content)
    content = finished(prepared, task, content, report)
    with writing(path):
        if not (resume and path.exists()):  # a sweep in another process may have crafted it
            run_file.write(path, content)
    partial.unlink(missing_ok=True)
    return path


def finished(prepared: Prepared, task: Problem, content: RunFile, report: Report) -> RunFile:
    """`content`, crafted, with poison rows that the schema of the data allows, see `rounding.finish`."""
    score = functools.partial(stage_scores.score, prepared, weight=None)
    return rounding.finish(prepared, task, content, score, report)


def fresh(prepared: Prepared) -> RunFile:
    """A run file's content before there is poison."""
    return RunFile(
        run=serialize.to_json(prepared.run),
        sha256=prepared.sha256,
        split=prepared.rows,
        scaler={name: getattr(prepared, name) for name in run_file.SCALER},
        poison=None,  # type: ignore[arg-type]
        plugins=plugins.sources(serialize.methods(prepared.run)),
    )


def _check_place(path: Path, force: bool, resume: bool) -> None:
    """Raise `PoisonError` where no file can be written."""
    if force and resume:
        raise PoisonError("--force and --resume contradict each other: give one of them")
    if not path.parent.is_dir():
        raise PoisonError(f"the folder {path.parent} does not exist: create it, or choose another --out")
    if path.is_dir():
        raise PoisonError(f"{path} is a folder: name a file with --out")
    check_replaceable(path)
    folder = Path(os.path.realpath(path)).parent
    if not os.access(folder, os.W_OK):
        raise PoisonError(f"the folder {folder} cannot be written to: choose another --out")


def _check_free(path: Path, partial: Path, taken: bool) -> None:
    """Raise `PoisonError` where something would be lost, unless it may be `taken`."""
    if taken:
        return
    if path.exists():
        raise PoisonError(f"{path} exists: --force replaces it, --resume goes on from it, --out names another")
    if partial.exists():
        raise PoisonError(
            f"{partial} exists, the checkpoint of an attack that was interrupted: --resume goes on from it, "
            "--force starts anew, --out names another"
        )


def same_run(found: RunFile, wanted: RunFile, path: Path) -> None:
    """Raise `PoisonError` unless the file `path`, with the content `found`, belongs to the run of `wanted`."""
    if not serialize.same(found.run, wanted.run) or found.sha256 != wanted.sha256:
        raise PoisonError(
            f"{path} belongs to a run with other options or data: repeat its options, or start anew with --force"
        )


def craft(
    prepared: Prepared, task: Problem, content: RunFile, begun: Poison | None, partial: Path, report: Report
) -> RunFile:
    """`content` with the poison of the attack on `task`, from `begun` on; checkpoints go to `partial`.

    Raises `FailedError` if it diverges, finds nothing, or is interrupted. The last checkpoint stays after an
    interruption, and where the disk is full; it goes where it would only lead to the same failure again.
    """
    if begun is not None and begun.done == begun.total:
        return dataclasses.replace(content, poison=begun)
    method = description.build(prepared.run.attack, "attack")
    what = f"crafting {prepared.run.attack.name} poison"
    key = jax.random.fold_in(jax.random.key(prepared.run.seed), ATTACKING)
    saved, batch, poison = time.monotonic(), -1, begun
    start = saved - (content.timeline[-1, 0] if len(content.timeline) else 0.0)
    try:
        for poison in _until_failure(method.craft(key, task, begun), partial):
            report(poison.done, poison.total, what)
            if defaults.attack(prepared.run.attack.name).adds:
                content = _timed(content, time.monotonic() - start, poison)
            stage = poison.done // max(poison.loss.shape[2], 1)
            if stage != batch or time.monotonic() - saved > CHECKPOINT_SECONDS:
                if poison.done < poison.total:
                    run_file.write(partial, dataclasses.replace(content, poison=poison))
                saved, batch = time.monotonic(), stage
    except (KeyboardInterrupt, SystemExit):  # the latter at the time limit of a cluster's job
        if poison is not None:
            run_file.write(partial, dataclasses.replace(content, poison=poison))
        raise
    return _sound(content, poison, prepared.run.attack.name)


def _sound(content: RunFile, poison: Poison | None, attack: str) -> RunFile:
    """`content` with the poison of an attack, which may come from anywhere. Raises `FailedError` if it is none."""
    cure = "`poison check FILE.py` says what an attack must do"
    if poison is None:
        raise FailedError(f"attack {attack} ended without poison: {cure}")
    try:
        found = dataclasses.replace(content, poison=poison)
        soundness.check(found)
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise FailedError(f"attack {attack} gives poison that cannot be used ({error}): {cure}") from None
    if poison.done < poison.total:
        raise FailedError(f"attack {attack} ended at step {poison.done} of {poison.total}: {cure}")
    return found


def _until_failure(poisons: Iterator[Poison], partial: Path) -> Iterator[Poison]:
    """The poison as it takes shape, checked; a failure of the attack removes the checkpoint."""
    try:
        for poison in poisons:
            _check_finite(poison)
            yield poison
    except FailedError:
        partial.unlink(missing_ok=True)
        raise


def _timed(content: RunFile, seconds: float, poison: Poison) -> RunFile:
    """`content` with a step in its timeline if the search has found better poison."""
    known = poison.loss[:, 1] if poison.loss.shape[1] > 1 else poison.loss
    if not np.any(known > 0):
        return content
    best = float(np.nanmax(known, axis=1, initial=0.0).mean())
    if len(content.timeline) and best <= content.timeline[-1, 1]:
        return content
    return dataclasses.replace(content, timeline=np.concatenate([content.timeline, [[seconds, best]]]))


def _check_finite(poison: Poison) -> None:
    done = poison.loss[~np.isnan(poison.loss)]
    values = [part.data for part in poison.x] if isinstance(poison.x, Sparse) else [poison.x]
    if not all(np.all(np.isfinite(part)) for part in values) or not np.all(np.isfinite(done)):
        raise FailedError(
            "the training diverged (its loss is not finite): try a smaller -o inner_rate, or a smaller lambda"
        )


def defend(
    path: str | Path,
    choice: Choice | str,
    *,
    data_dir: str | None = None,
    save: bool = True,
    report: Report = lambda done, total, what: None,
) -> RunFile:
    """Let a defense weigh the training rows of every repetition and stage, the clean stage 0 included.

    choice: a defense by name, or with options. Returns the run file's content with the weights, and writes
    them there unless `save` is false; the same defense with other options takes the place of its former self.
    Raises `PoisonError` if the file, its data set or the defense cannot be used.
    """
    path = Path(path)
    choice = description.resolve_defense(Choice(choice) if isinstance(choice, str) else choice)
    content = run_file.read(path)
    former = content.defenses.get(choice.name)
    if former is not None and former.choice == serialize.choice_to_json(choice):
        return content
    if save:
        update.check_writable(path)
    prepared = restore(content, data_dir)
    defended = weigh(prepared, content.poison, choice, report)
    if save:
        return update.add_defense(path, content, choice.name, defended)
    return update.with_defense(content, choice.name, defended)


def weigh(prepared: Prepared, poison: Poison, choice: Choice, report: Report) -> Defended:
    """Run a resolved defense over all repetitions and stages."""
    method, what = description.build(choice, "defense"), f"defending with {choice.name}"
    repetitions, stages = prepared.run.repetitions, len(poison.counts)
    keys = prepared.keys(DEFENDING)
    size = poisoned(prepared.split.train, poison, 0)[0].y.shape[1]
    weight, score = np.zeros((repetitions, stages, size), np.float32), np.full((repetitions, stages, size), np.nan)
    for stage, count in enumerate(poison.counts):
        train, _, _ = poisoned(prepared.split.train, poison, stage)
        for r in range(repetitions):
            report(stage * repetitions + r, stages * repetitions, what)
            rows, trusted = (Data(*(leaf[r] for leaf in part)) for part in (train, prepared.split.val))
            there = rows.weight > 0
            rows = Data(*(leaf[there] for leaf in rows)) if not there.all() else rows
            clues = Clues(trusted, int(count) / len(rows.y))
            verdict = method.weigh(keys[r], rows, prepared.learner(poison.log_lambda[r, stage]), clues)
            if not np.any(verdict.weight > 0):
                raise FailedError(f"defense {choice.name} removes every row: choose milder options with -o")
            weight[r, stage, there], score[r, stage, there] = verdict.weight, verdict.score
    report(stages * repetitions, stages * repetitions, what)
    return Defended(serialize.choice_to_json(choice), method.knows(), weight, score.astype(np.float32))


def evaluate(
    path: str | Path,
    *,
    data_dir: str | None = None,
    save: bool = True,
    measures: bool = False,
    report: Report = lambda done, total, what: None,
) -> RunFile:
    """Train the victim on the clean and on the poisoned rows of every stage, and score it.

    It is trained without a defense (`none`) and behind each defense in the file. All trainings of a repetition
    start from the same parameters (HLP Table V). Returns the run file's content with the evaluations, and
    writes them there unless `save` is false or it cannot be, which is warned of; what is there already is kept.
    measures: add those of `training.metrics` where an older version evaluated without them.
    Raises `PoisonError` if the file or its data set cannot be read, and `FailedError` if the victim diverges.
    """
    path = Path(path)
    content = run_file.read(path)
    wanted = [name for name in ("none", *content.defenses) if name not in content.evaluations]
    bare = [name for name, known in content.evaluations.items() if measures and not known.metrics]
    if not wanted and not bare:
        return content
    prepared, found = restore(content, data_dir), {}
    content = dataclasses.replace(content, classes=class_names(prepared.run, prepared.dataset))
    try:
        for name in bare:
            known = content.evaluations[name]
            found[name] = dataclasses.replace(known, metrics=stage_scores.measures(prepared, known.params))
        for name in wanted:
            found[name] = stage_scores.behind(prepared, content, name, report)
    finally:  # an interruption, or a victim that diverges behind one defense, leaves the others
        content = _keep(path, content, found, save)
    return content


def _keep(path: Path, content: RunFile, found: dict[str, Evaluation], save: bool) -> RunFile:
    """`content` with the evaluations found, in the file if `save` and if it can be."""
    if save and found:
        try:
            update.check_writable(path)
            return update.add_evaluations(path, content, found)
        except PoisonError as error:
            warnings.warn(f"the evaluation was not saved: {error}", stacklevel=3)
    return dataclasses.replace(content, evaluations={**content.evaluations, **found})
