"""Kills and signals at random moments over attack, defend, evaluate and sweep: nothing lost, equal to the bit."""

from __future__ import annotations

import dataclasses
import random
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from fuzz.case import Case, Outcome, complaint
from fuzz.pool import Zygote
from fuzz.templates import SIZES, Templates

_LONGER = ("-o", "outer_steps=30", "-o", "inner_steps=10")
_SWEEP = b"""title = "s"
defend = ["l2"]
[base]
n_train = 20
n_val = 10
n_test = 10
fraction = 0.2
attack = {name = "rmd", outer_steps = 10, inner_steps = 5}
[line.a]
[line.b]
lambda = 0.1
"""
VERBS = ("attack", "defend", "evaluate", "sweep")
SIGNALS = {"SIGKILL": 100, "SIGINT": 20, "SIGTERM": 20}  # how often each hits
_KINDS = {"SIGKILL": "kills", "SIGINT": "Ctrl-C"}
_ENDS = (-signal.SIGKILL, 130, 143)  # statuses of a job that was hit
_TRIES = 10  # for each hit


def shares(count: int) -> dict[str, int]:
    """`count` hits, divided as `SIGNALS` are."""
    return {name: round(count * share / sum(SIGNALS.values())) for name, share in SIGNALS.items()}


def jobs(made: Templates) -> list[tuple[Case, tuple[str, ...]]]:
    """Commands worth interrupting, and the same commands when they are repeated afterwards."""
    crafted = made.run("flip")
    attack = ("attack", *SIZES, *_LONGER, "--out", "out.h5")
    search = (
        "attack",
        "--dataset",
        "breast-cancer",
        "--method",
        "kkt",
        *SIZES[:6],
        "--fraction",
        "0.3",
        "--lambda",
        "0.1",
        "--out",
        "out.h5",
    )
    sweep = ("sweep", "--config", "s.toml", "--out", "fig")
    defend = ("defend", "flip.h5", "-d", "l2", "-d", "knn", "-d", "svd")
    return [
        (Case("kills", attack), (*attack, "--resume")),
        (Case("kills", search), (*search, "--resume")),
        (Case("kills", sweep, {"s.toml": _SWEEP}), sweep),
        (Case("kills", defend, crafted), defend),
        (Case("kills", ("evaluate", "flip.h5"), crafted), ("evaluate", "flip.h5")),
    ]


class Interruptions:
    """Runs each job undisturbed once, to compare with; then disturbs it."""

    def __init__(self, zygote: Zygote, made: Templates, verbs: tuple[str, ...] = VERBS) -> None:
        self._zygote, self._jobs = zygote, [job for job in jobs(made) if job[0].args[0] in verbs]
        self._whole = [self._undisturbed(case) for case, _ in self._jobs]

    def _undisturbed(self, case: Case) -> tuple[float, dict[str, np.ndarray]]:
        """The shortest of some runs, of which the first compiles, and what it leaves."""
        seconds, left = [], {}
        for _ in range(3):
            with tempfile.TemporaryDirectory() as place:
                case.lay_out(Path(place))
                outcome = self._zygote.run(case, Path(place))
                assert outcome.status == 0, (case, outcome)
                seconds.append(outcome.seconds)
                left = arrays(Path(place))
        return min(seconds), left

    def draw(self, rng: random.Random, wanted: dict[str, int]) -> Iterator[tuple[Case, Outcome, str]]:
        """Disturbed jobs with their outcomes, and what is wrong with them, until each signal has hit so often.

        The moment is uniform within the job. Where the job ended before, its length is known better, and the moment
        is drawn again: only what was hit counts.
        """
        for name, count in wanted.items():
            hits = tries = 0
            while hits < count:
                tries += 1
                assert tries <= _TRIES * count, f"{name} came too late in {tries - hits} of {tries} tries"
                number = hits % len(self._jobs)  # all of them in turn
                case, again = self._jobs[number]
                seconds, whole = self._whole[number]
                moment = rng.uniform(0.0, seconds)
                case = dataclasses.replace(case, kind=_KINDS.get(name, name), signal=name, after=moment)
                outcome, wrong = self.judge(case, again, whole)
                hit = outcome.status in _ENDS
                hits += hit
                if not hit:
                    self._whole[number] = min(seconds, outcome.seconds), whole
                if hit or wrong:
                    yield case, outcome, wrong

    def judge(self, case: Case, again: tuple[str, ...], whole: dict[str, np.ndarray]) -> tuple[Outcome, str]:
        """Disturb, repeat, compare."""
        folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        try:
            case.lay_out(folder)
            outcome = self._zygote.run(case, folder)
            wrong = complaint(case, outcome, folder)
            if not wrong:
                repeated = dataclasses.replace(case, args=again, signal="")
                after = self._zygote.run(repeated, folder)
                wrong = complaint(repeated, after, folder)
                if after.status != 0:
                    wrong = wrong or f"cannot be repeated: {after.stderr.strip()[-120:]}"
                elif different := differences(arrays(folder), whole):
                    wrong = wrong or f"other than undisturbed: {different[:3]}"
            return outcome, wrong
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def arrays(folder: Path) -> dict[str, np.ndarray]:
    """Every array of every run file there; seconds are left out, for they differ."""
    import h5py

    found: dict[str, np.ndarray] = {}
    for path in sorted(folder.rglob("*.h5")):
        with h5py.File(path) as file:

            def keep(name: str, item: object, path: Path = path) -> None:
                if isinstance(item, h5py.Dataset) and name != "timeline":
                    found[f"{path.relative_to(folder)}:{name}"] = item[()]

            file.visititems(keep)
    return found


def differences(some: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> list[str]:
    """Names of the arrays that are not equal to the bit."""
    names = sorted({*some, *other})
    return [
        name
        for name in names
        if name not in some or name not in other or some[name].tobytes() != other[name].tobytes()
    ]
