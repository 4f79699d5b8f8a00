"""A small sweep, and what its tests share: no module of tests."""

import contextlib
import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from poisoncli.runs import run_file
from poisoncli.sweeps import claims
from poisoncli.sweeps.claims import Claim, Claims
from poisoncli.sweeps.plan import parse

TEXT = """
title = "small"
[base]
attack = "flip"
n_train = 30
n_val = 10
n_test = 10
trainer = { name = "sgd", epochs = 5 }
[line.one]
seed = 1
[line.two]
seed = 2
[line.three]
seed = 3
"""
GROUP = """
[base]
dataset = "digits"
attack = { name = "rmd", outer_steps = 4, inner_steps = 5, batch = 4 }
fraction = 0.2
n_train = 40
n_val = 20
n_test = 20
[line.clean]
clean_lambda = true
[line.large]
lambda = 0.2
[line.flip]
attack = "flip"
"""
BAD = """
[line.bad]
lambda = 1e30
attack = { name = "rmd", outer_steps = 2, inner_steps = 20, batch = 8 }
"""


def small(text=TEXT):
    return parse(text, "here")


def same_bits(first, second):
    """Raise unless two folders hold the same run files to the bit, but for the seconds that a search took."""
    names = sorted(path.name for path in first.glob("*.h5"))
    assert names == sorted(path.name for path in second.glob("*.h5"))
    for name in names:
        one, other = (_arrays(run_file.read(folder / name)) for folder in (first, second))
        assert one.keys() == other.keys(), name
        for key, value in one.items():
            np.testing.assert_array_equal(value, other[key], err_msg=f"{name}: {key}")


def _arrays(value, name=""):
    """All arrays and texts in a run file, by their path."""
    if dataclasses.is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        value.pop("timeline", None)
    elif hasattr(value, "_asdict"):
        value = value._asdict()
    elif isinstance(value, tuple | list):
        value = {str(number): item for number, item in enumerate(value)}
    if not isinstance(value, dict):
        return {name: value}
    return {key: leaf for part, item in value.items() for key, leaf in _arrays(item, f"{name}/{part}").items()}


def workers_of(nannies):
    """The worker processes of Dask's nannies, which start them in threads of theirs."""
    found = []
    for nanny in nannies:
        for listed in Path(f"/proc/{nanny.pid}/task").glob("*/children"):
            for child in listed.read_text().split():
                with contextlib.suppress(OSError):
                    if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes():
                        found.append(int(child))
    return found


def dead(folder, unit="unit", **changes):
    """The claim of a process that has ended, by `kill -9` as it were."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    known = Claim(unit, 0, 0.0, "here", claims.system(), process.pid, "1", since="2026-01-01")
    claim = dataclasses.replace(known, **changes)
    claims._path(folder, unit, claim.generation).write_bytes(claims._text(claim))
    return claim


def aged(folder, claim, seconds):
    """Let the last sign of life of a claim be that long ago."""
    path = claims._path(folder, claim.unit, claim.generation)
    os.utime(path, (time.time() - seconds, time.time() - seconds))
    return Claims(folder).all()[claim.unit]
