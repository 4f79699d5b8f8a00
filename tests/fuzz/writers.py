"""Two writers at a time: `python -m fuzz.writers [ROUNDS]`; nothing may be lost, arrays are equal to the bit.

Each round forks two processes that run verbs on one run file. What both leave is compared with what the same verbs
leave one after another.
"""

from __future__ import annotations

import dataclasses
import os
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

Verb = Callable[[Path], object]
_TO = {"export": ("run.h5", "rows.csv"), "report": ("run.h5", "--out", "figure.png")}
_LEFT = (["alone.h5", "run.h5"], ["rows.csv", "run.h5"], ["figure.png", "run.h5"])


def rounds(count: int, seed: int = 0) -> list[str]:
    """What went wrong in `count` rounds, which take turns among pairs of verbs."""
    import poisoncli

    l2, knn = partial(poisoncli.defend, choice="l2"), partial(poisoncli.defend, choice="knn")
    kinds = [
        partial(_both_add, (l2, knn)),
        partial(_both_add, (l2, poisoncli.evaluate)),
        partial(_both_add, (poisoncli.evaluate, poisoncli.evaluate)),
        _one_is_refused,
        _one_waits,
        partial(_one_writes, "export", "rows.csv", (("--fraction", "0"), ("--fraction", "1"))),
        partial(_one_writes, "report", "figure.png", (("--draw", "test_error"), ("--draw", "norm"))),
    ]
    wrong, rng = [], random.Random(seed)
    for number in range(count):
        with tempfile.TemporaryDirectory() as place:
            found = kinds[number % len(kinds)](Path(place), rng.uniform(0.0, 0.3))
            left = sorted(os.listdir(place))
        found += [] if left in _LEFT else [f"{left} were left"]
        wrong += [f"round {number}: {what}" for what in found]
    return wrong


def _both_add(verbs: tuple[Verb, Verb], place: Path, pause: float) -> list[str]:
    """Verbs that add to a run file keep what the other added."""
    import poisoncli

    path, alone = place / "run.h5", place / "alone.h5"
    _wait(_fork(_attack, path))
    alone.write_bytes(path.read_bytes())
    ended = _at_once(verbs, path, pause)
    for verb in verbs:
        _wait(_fork(verb, alone))
    for one in (path, alone):  # an evaluation may have ended before there was a defense
        _wait(_fork(poisoncli.evaluate, one))
    return _compared(path, alone) + ([] if ended == [0, 0] else [f"statuses {ended}"])


def _one_is_refused(place: Path, pause: float) -> list[str]:
    """Of two attacks on one place, the one that says 0 is the one whose run is there."""
    path, alone = place / "run.h5", place / "alone.h5"
    attacks = partial(_attack, seed=1), partial(_attack, seed=2)
    ended = _at_once(attacks, path, pause)
    if sorted(ended) != [0, 2]:
        return [f"statuses {ended}"]
    _wait(_fork(attacks[ended.index(0)], alone))
    return _compared(path, alone)


def _one_waits(place: Path, pause: float) -> list[str]:
    """Of two attacks with --resume the second waits, and finds that all is done."""
    path, alone = place / "run.h5", place / "alone.h5"
    attack = partial(_attack, resume=True)
    ended = _at_once((attack, attack), path, pause)
    _wait(_fork(_attack, alone))
    return _compared(path, alone) + ([] if ended == [0, 0] else [f"statuses {ended}"])


def _one_writes(verb: str, name: str, options: tuple[tuple[str, ...], ...], place: Path, pause: float) -> list[str]:
    """Of two commands that write the same new file, the one that says 0 is the one whose file is there."""
    import poisoncli

    path, out = place / "run.h5", place / name
    _wait(_fork(_attack, path))
    _wait(_fork(poisoncli.evaluate, path))
    commands = [partial(_command, (verb, *own, *_TO[verb])) for own in options]
    alone = []
    for command in commands:
        _wait(_fork(command, path))
        alone.append(out.read_bytes())
        out.unlink()
    ended = _at_once((commands[0], commands[1]), path, pause / 4)
    if sorted(ended) != [0, 2]:
        return [f"{verb}: statuses {ended}"]
    return [] if out.read_bytes() == alone[ended.index(0)] else [f"{verb}: the file is of neither"]


def _command(args: tuple[str, ...], path: Path) -> None:
    """A command line in the folder of the run file."""
    from poisoncli.__main__ import main as command

    os.chdir(path.parent)
    for number in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    sys.argv = ["poison", *args]
    command()


def _at_once(verbs: tuple[Verb, Verb], path: Path, pause: float) -> list[int]:
    """The exit statuses of two processes, of which the second begins `pause` seconds later."""
    first = _fork(verbs[0], path)
    time.sleep(pause)
    return [_wait(child) for child in (first, _fork(verbs[1], path))]


def _compared(one: Path, other: Path) -> list[str]:
    from poisoncli.runs import run_file

    differing = differences(run_file.read(one), run_file.read(other))
    return [f"{', '.join(differing)} differ"] if differing else []


def _attack(path: Path, seed: int = 0, resume: bool = False) -> object:
    import poisoncli

    run = poisoncli.Run(
        attack=poisoncli.Choice("flip"),
        trainer=poisoncli.Choice("sgd", {"epochs": 5}),
        n_train=30,
        n_val=10,
        n_test=10,
        fraction=0.2,
        seed=seed,
    )
    return poisoncli.attack(run, path, resume=resume)


def _fork(verb: Verb, path: Path) -> int:
    """A child that runs a verb (a process that has started JAX cannot fork) and ends with its exit status."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        from poisoncli import FailedError, PoisonError

        warnings.simplefilter("ignore")
        try:
            verb(path)
            status = 0
        except PoisonError as error:
            status = 1 if isinstance(error, FailedError) else 2
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def differences(one: object, other: object, name: str = "") -> list[str]:
    """Names of what is not equal to the bit in two contents of run files; seconds are left out."""
    if name.endswith("timeline"):
        return []
    if dataclasses.is_dataclass(one) and not isinstance(one, type):
        fields = [field.name for field in dataclasses.fields(one)]
        pairs = {field: (getattr(one, field), getattr(other, field, None)) for field in fields}
    elif isinstance(one, dict) and isinstance(other, dict):
        pairs = {key: (one.get(key), other.get(key)) for key in {**one, **other}}
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = {str(number): pair for number, pair in enumerate(zip(one, other, strict=True))}
    else:
        a, b = np.asarray(one), np.asarray(other)
        same = one == other if object in (a.dtype, b.dtype) else (a.shape, a.tobytes()) == (b.shape, b.tobytes())
        return [] if same else [name or "content"]
    return [found for key, pair in pairs.items() for found in differences(*pair, f"{name}.{key}".strip("."))]


def main() -> int:
    """Status 1 if anything was lost."""
    warnings.filterwarnings("ignore", message=".*fork.*")
    import jax._src.lax.lax  # noqa: F401 (imported once for all children)
    import sklearn.datasets  # noqa: F401

    import poisoncli.runs.stages  # noqa: F401

    count, begun = int(sys.argv[1]) if len(sys.argv) > 1 else 50, time.monotonic()
    wrong = rounds(count)
    print(
        "\n".join(
            [*wrong, f"{count} rounds of two writers in {time.monotonic() - begun:.0f} s: {len(wrong)} wrong"]
        )
    )
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
