"""The whole answer: how much damage poison does to a model on a user's data, and what helps."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from poisoncli.core.data import Sparse
from poisoncli.core.declared import OfAttack
from poisoncli.core.errors import FailedError, PoisonError
from poisoncli.runs import defaults, description, run_file, serialize, stages, victims
from poisoncli.runs.description import RELATIVE, Choice, Run
from poisoncli.runs.progress import Report
from poisoncli.runs.run_file import RunFile
from poisoncli.training.own_models import Victim, build

FRACTION = 0.1  # of the training rows, where none is asked for
ATTACK, FLIPS, LEARNED = "attack.h5", "flips.h5", "learned.h5"


@dataclasses.dataclass(frozen=True)
class Audit:
    """Run files, evaluated.

    attack: the strongest poison that was found, with the defenses and the user's own victims.
    flips: random label flips of the same number, None where these rows or this model take none.
    learned: the attack on a learner who learns lambda on trusted rows, None where the user has a penalty of his own
    or the attack cannot be made on one.
    failed: the defenses that cannot be used on these rows, and why.
    """

    attack: RunFile
    flips: RunFile | None
    learned: RunFile | None
    failed: dict[str, str]


def audit(
    run: Run,
    folder: str | Path = "audit",
    *,
    defenses: Sequence[Choice | str] = ("all",),
    outside: Sequence[Victim] = (),
    data_dir: str | None = None,
    force: bool = False,
    report: Report = lambda done, total, what: None,
) -> Audit:
    """Craft poison for `run`, let defenses weigh its rows, and train the victims; the run files go to `folder`.

    run: as for `attack`; without a fraction it is 10 %. defenses: `all` stands for those that fit the targets.
    outside: models of the user's own. What the folder holds of the same audit is kept, unless `force`.
    Raises `PoisonError` and `FailedError` as the stages do; a defense that fails leaves the others.
    """
    asked = [one if isinstance(one, Choice) else Choice(one) for one in defenses]
    for choice in asked:  # what is wrong is said before the work
        if choice.name != "all":
            description.resolve_defense(choice)
    for victim in outside:
        build(victim)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    run = dataclasses.replace(run, fraction=run.fraction or FRACTION)
    how = {"data_dir": data_dir, "report": report}
    try:
        path = _crafted(run, folder / ATTACK, force, how)
    except PoisonError:
        with contextlib.suppress(OSError):  # nothing was made: no empty folder stays
            folder.rmdir()
        raise
    content = run_file.read(path)
    named = [Choice(name, one.options) for one in asked for name in description.defenses([one.name], content.real)]
    failed: dict[str, str] = {}
    for choice in named:
        try:
            stages.defend(path, choice, **how)  # type: ignore[arg-type]
        except FailedError as error:
            failed[choice.name] = str(error)
        except PoisonError as error:
            if choice.name in [one.name for one in asked]:  # named, so what is wrong is the request
                raise
            failed[choice.name] = str(error)
    content = stages.evaluate(path, **how)  # type: ignore[arg-type]
    if outside:
        content = victims.add(path, outside, content=content, **how)  # type: ignore[arg-type]
    others = {
        name: stages.evaluate(_crafted(one, folder / name, force, how), **how)  # type: ignore[arg-type]
        for name, one in ((FLIPS, _flips(run, content)), (LEARNED, _learned(run, content)))
        if one is not None
    }
    return Audit(content, others.get(FLIPS), others.get(LEARNED), failed)


def _crafted(run: Run, path: Path, force: bool, how: dict) -> Path:
    """The run file of `run`; one that is there is kept, or gone on with."""
    return stages.attack(run, path, force=force, resume=not force, **how)


def _flips(run: Run, content: RunFile) -> Run | None:
    """Random flips of the same number, which know of no limits as they change no feature; of added rows `alfa`."""
    made = serialize.from_json(content.run)
    name = "alfa" if defaults.attack(made.attack.name).adds else "flip"
    task = "real" if content.real else "binary" if len(content.classes) == 2 else "multiclass"
    fit = defaults.fitting(OfAttack, task, sparse=isinstance(content.poison.x, Sparse))
    learns = run.learn_lambda and not defaults.attack(name).learns_lambda
    if name not in fit or name == made.attack.name or learns:
        return None
    batch = {"batch": made.attack.options["batch"]} if name == "flip" and made.attack.options.get("batch") else {}
    limits = dict.fromkeys((*RELATIVE, "ranges"), ())
    return dataclasses.replace(run, attack=Choice(name, batch), **{**limits, "columns_changed": 0})


def _learned(run: Run, content: RunFile) -> Run | None:
    """The same attack on a learner of lambda, where the user's learner has no penalty."""
    made = serialize.from_json(content.run)
    able = defaults.attack(made.attack.name).learns_lambda and "l2" in defaults.model(made.model.name).penalties
    if made.reg != "none" or not able or not made.n_val:
        return None
    return dataclasses.replace(run, learn_lambda=True, reg="l2", lambda_=None)
