"""Runs that leave the clean rows alone are crafted together: rows that they share are read once for all."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Data
from poisoncli.core.victim import Objective
from poisoncli.runs import defaults, description, run_file, serialize, stages, targets
from poisoncli.runs.description import Choice, Run
from poisoncli.runs.prepare import Prepared, prepare
from poisoncli.runs.problem import problem
from poisoncli.tables.lock import writing

_POLICY = {"reg": "", "lambda_": None, "clean_lambda": False, "learn_lambda": False, "per_layer": False}


def groups(runs: Sequence[Run]) -> list[list[int]]:
    """Which of the resolved `runs` can be crafted together, as lists of their numbers, each in one list.

    Those that differ in nothing but how lambda is chosen, and in what their attack `joins`. Where that is not the
    penalty, runs without one join those of one of the others.
    """
    kinds: dict[str, list[int]] = {}
    for number, one in enumerate(runs):
        told = all(one.trainer.options.get(name, 1) for name in ("rate", "epochs"))  # 0: found from the rows
        alone = "" if told and (defaults.attack(one.attack.name).settings_at_once) else str(number)
        kinds.setdefault(alone + serialize.to_json(_shared(one)), []).append(number)
    found = []
    for members in kinds.values():
        regs = sorted({runs[number].reg for number in members} - {"none"})
        if "reg" in _joins(runs[members[0]]):
            found.append(members)
            continue
        for reg in regs or ["none"]:
            wanted = (reg, "none") if reg == (regs or ["none"])[0] else (reg,)
            found.append([number for number in members if runs[number].reg in wanted])
    return sorted(found)


def _joins(run: Run) -> tuple[str, ...]:
    """In what runs may differ that are crafted together with this one, see `declared.OfAttack`."""
    joins = defaults.attack(run.attack.name).joins
    return joins(description.build(run.attack, "attack")) if joins else ()


def _shared(run: Run) -> Run:
    """`run` without that in which those may differ that are crafted together."""
    joins, options = _joins(run), dict(run.attack.options)
    if "target" in joins and _on_validation_rows(options):
        options["target"], options["target_label"] = "val", "some" if options.get("target_label") else ""
    options.update({name: None for name in joins if name in options and name != "target"})
    trainer = dict(run.trainer.options)
    if "trainer.rate" in joins and "rate" in trainer:
        trainer["rate"] = None
    own = {"attack": Choice(run.attack.name, options), "trainer": Choice(run.trainer.name, trainer)}
    return dataclasses.replace(run, **_POLICY, **own)


def _on_validation_rows(options: Mapping[str, Any]) -> bool:
    """Whether the target rows are all validation rows, or those of a class."""
    return str(options.get("target", "val")).partition(":")[0] in ("val", "class")


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
    each, varied = [problem(one) for one in alike], _varied(alike)
    told = defaults.attack(first.run.attack.name).settings_at_once
    most = told(description.build(first.run.attack, "attack"), each[0]) if told else 1
    for start in range(0, len(runs), most):
        part = slice(start, start + most)
        if not all(path.exists() for path in paths[part]):
            own = {name: values[part] for name, values in varied.items()}
            _attack(alike[part], each[part], own, paths[part], report)


def _alike(prepared: Prepared, one: Run) -> Prepared:
    """`prepared` for another run on the same rows."""
    sizes = {name: getattr(prepared.run, name) for name in ("n_train", "n_val", "n_test")}
    own = description.resolve(one)
    joins, options = _joins(own), dict(prepared.run.attack.options)
    names = [name for name in (*joins, "target_label") if name in options]
    if "target" not in joins or not _on_validation_rows(own.attack.options):
        names = [name for name in names if not name.startswith("target")]
    options.update({name: own.attack.options[name] for name in names})
    own = dataclasses.replace(own, attack=Choice(own.attack.name, options), **sizes)
    target = prepared.target
    if "target" in names:
        target = targets.target(own, prepared.split, lambda rows: target, prepared.dataset)
    return prepared._replace(
        run=own,
        objective=dataclasses.replace(prepared.objective, reg=own.reg),
        trainer=description.build(own.trainer, "trainer"),
        target=target,
    )


def _varied(alike: Sequence[Prepared]) -> dict[str, np.ndarray]:
    """See `Problem.varied`."""
    found = {}
    for name in _joins(alike[0].run):
        options = [one.run.trainer.options if name == "trainer.rate" else one.run.attack.options for one in alike]
        values = [own.get(name.rpartition(".")[2]) for own in options]
        if name not in ("reg", "target") and len(set(values)) > 1:
            found[name] = np.array(values, float)
    return found


def _attack(
    alike: Sequence[Prepared],
    each: Sequence[Problem],
    varied: Mapping[str, np.ndarray],
    paths: Sequence[Path],
    report: stages.Report,
) -> None:
    partial = paths[0].parent / (paths[0].name + ".together.partial")
    with writing(partial, shown=paths[0]):
        if all(path.exists() for path in paths):  # another process did
            return
        joint, layers = _joint(each)._replace(varied=varied), [one.log_lambda.shape[1] for one in each]
        runs = [serialize.to_json(one.run) for one in alike]
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
    target, trusted = _looked_at(each)
    return each[0]._replace(
        target=target,
        objective=_objective(each),
        log_lambda=np.stack(wide, axis=1).reshape(-1, layers),
        learn=np.concatenate([one.learn for one in each]),
        clean_only=np.concatenate([one.clean_only for one in each]),
        settings=len(each),
        trusted=trusted,
    )


def _objective(each: Sequence[Problem]) -> Objective:
    """The objective of all; no penalty is a log_lambda of -inf."""
    regs = sorted({one.objective.reg for one in each} - {"none"}) or ["none"]
    if len(regs) == 1:
        return dataclasses.replace(each[0].objective, reg=regs[0])
    share = np.array([one.objective.reg == "l1" for one in each], each[0].train.x.dtype)
    return dataclasses.replace(each[0].objective, reg="mixed", l1=share)


def _looked_at(each: Sequence[Problem]) -> tuple[Data, Data | None]:
    """Target rows and trusted rows of all; those that target validation rows have the same features."""
    target, trusted = each[0].target, next((one.trusted for one in each if one.trusted is not None), None)
    differ = {
        name: np.stack([getattr(one.target, name) for one in each], axis=1)
        for name in ("y", "weight")
        if any(np.any(getattr(one.target, name) != getattr(target, name)) for one in each)
    }
    if differ and trusted is None:  # then who learns looks at its target rows
        trusted = next((one.target for one in each if one.learn.any()), None)
    return target._replace(**differ), trusted


def _own(poison: Poison, settings: int, number: int, layers: int) -> Poison:
    """The poison of one of the settings."""
    entries = slice(number, None, settings)
    return poison._replace(
        x=poison.x[entries],
        y=poison.y[entries],
        log_lambda=poison.log_lambda[entries, :, :layers],
        loss=poison.loss[entries],
        scales=poison.scales[entries],
        trail=poison.trail[entries],
    )
