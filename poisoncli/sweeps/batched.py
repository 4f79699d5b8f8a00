"""Runs that differ in their lambda alone are crafted together: rows that they share are read once for all."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from poisoncli.core.attack import Poison, Problem
from poisoncli.runs import defaults, description, run_file, stages
from poisoncli.runs.description import Run
from poisoncli.runs.prepare import Prepared, prepare
from poisoncli.runs.problem import problem
from poisoncli.tables.lock import writing

_POLICY = {"reg": "", "lambda_": None, "clean_lambda": False, "learn_lambda": False, "per_layer": False}


def groups(runs: Sequence[Run]) -> list[list[int]]:
    """Which of the resolved `runs` can be crafted together, as lists of their numbers, each in one list.

    Those that differ in nothing but how lambda is chosen; runs without a penalty join one of the others.
    """
    kinds: dict[str, list[int]] = {}
    for number, one in enumerate(runs):
        told = all(one.trainer.options.get(name, 1) for name in ("rate", "epochs"))  # 0: found from the rows
        alone = "" if told and (defaults.attack(one.attack.name).settings_at_once) else str(number)
        kinds.setdefault(alone + description.to_json(dataclasses.replace(one, **_POLICY)), []).append(number)
    found = []
    for members in kinds.values():
        regs = sorted({runs[number].reg for number in members} - {"none"})
        for reg in regs or ["none"]:
            wanted = (reg, "none") if reg == (regs or ["none"])[0] else (reg,)
            found.append([number for number in members if runs[number].reg in wanted])
    return sorted(found)


def attack(
    runs: Sequence[Run],
    paths: Sequence[Path],
    *,
    data_dir: str | None = None,
    report: stages.Report = lambda done, total, what: None,
) -> None:
    """Craft the poison of `runs`, one of the lists of `groups`, into a run file each; files that exist are kept.

    It goes on from a checkpoint, as `stages.attack` does with `resume`. Numbers may differ from those of a run
    alone by rounding, for sums are in another order. Raises what `stages.attack` raises.
    """
    first = prepare(description.resolve(runs[0]), data_dir)
    alike = [_alike(first, one) for one in runs]
    each = [problem(one) for one in alike]
    told = defaults.attack(first.run.attack.name).settings_at_once
    most = told(description.build(first.run.attack, "attack"), each[0]) if told else 1
    for start in range(0, len(runs), most):
        part = slice(start, start + most)
        if not all(path.exists() for path in paths[part]):
            _attack(alike[part], each[part], paths[part], report)


def _alike(prepared: Prepared, one: Run) -> Prepared:
    """`prepared` for another run on the same rows."""
    sizes = {name: getattr(prepared.run, name) for name in ("n_train", "n_val", "n_test")}
    own = dataclasses.replace(description.resolve(one), attack=prepared.run.attack, **sizes)
    return prepared._replace(run=own, objective=dataclasses.replace(prepared.objective, reg=own.reg))


def _attack(
    alike: Sequence[Prepared], each: Sequence[Problem], paths: Sequence[Path], report: stages.Report
) -> None:
    partial = paths[0].parent / (paths[0].name + ".together.partial")
    with writing(partial, shown=paths[0]):
        if all(path.exists() for path in paths):  # another process did
            return
        joint, layers = _joint(each), [one.log_lambda.shape[1] for one in each]
        runs = [description.to_json(one.run) for one in alike]
        fresh = dataclasses.replace(stages.fresh(alike[0]), run=json.dumps(runs))
        begun = None
        if partial.exists():
            content = run_file.read(partial, unfinished=True)
            stages.same_run(content, fresh, partial)
            begun = content.poison
        poison = stages.craft(alike[0], joint, fresh, begun, partial, report).poison
        for number, path in enumerate(paths):
            own = _own(poison, joint.settings, number, layers[number])
            content = dataclasses.replace(fresh, run=runs[number], poison=own)
            if not path.exists():
                content = stages.finished(alike[number], each[number], content, report)
            with writing(path):
                if not path.exists():
                    run_file.write(path, content)
        partial.unlink(missing_ok=True)


def _joint(each: Sequence[Problem]) -> Problem:
    """One problem with the settings of all."""
    layers = max(one.log_lambda.shape[1] for one in each)
    wide = [np.broadcast_to(one.log_lambda, (len(one.log_lambda), layers)) for one in each]
    penalized = next((one for one in each if one.objective.reg != "none"), each[0])  # no penalty is log_lambda -inf
    return each[0]._replace(
        objective=penalized.objective,
        log_lambda=np.stack(wide, axis=1).reshape(-1, layers),
        learn=np.concatenate([one.learn for one in each]),
        clean_only=np.concatenate([one.clean_only for one in each]),
        settings=len(each),
        trusted=next((one.trusted for one in each if one.trusted is not None), None),
    )


def _own(poison: Poison, settings: int, number: int, layers: int) -> Poison:
    """The poison of one of the settings."""
    entries = slice(number, None, settings)
    return poison._replace(
        x=poison.x[entries],
        y=poison.y[entries],
        log_lambda=poison.log_lambda[entries, :, :layers],
        loss=poison.loss[entries],
    )
