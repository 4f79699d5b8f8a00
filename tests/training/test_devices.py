"""Repetitions and settings spread over several devices end as on one."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from command import TINY, refused

from poisoncli.core.errors import PoisonError
from poisoncli.training import devices

CHILD = """
import json
import os
from pathlib import Path
import numpy as np
import poisoncli
from poisoncli.runs import description
from poisoncli.runs.description import Choice, Run
from poisoncli.sweeps import batched
from poisoncli.training import devices

meshes, plain = set(), devices.mesh
def watched(*shape):
    found = plain(*shape)
    meshes.add(str((os.environ["POISON_DEVICES"], shape, found and found.devices.shape)))
    return found
devices.mesh = watched

fast = {"trainer": Choice("sgd", {"epochs": 9}), "n_train": 40, "n_val": 20, "n_test": 20, "fraction": 0.2}
rmd = {"attack": Choice("rmd", {"outer_steps": 3, "inner_steps": 6, "batch": 4}), **fast}
line = {"dataset": Choice("line"), "attack": Choice("stealthy", {"outer_steps": 3, "alpha": 0.5}), "fraction": 0.1}
cases = {
    "repetitions": [Run(**rmd, repetitions=3, learn_lambda=True)],
    "settings": [Run(**rmd, reg="l2", lambda_=value) for value in (0.01, 0.1, 0.2, 0.4)],
    "regression": [Run(**line, repetitions=5)],
}
for name, runs in cases.items():
    ends = {}
    for number in (1, 4):
        os.environ["POISON_DEVICES"] = str(number)
        paths = [Path(f"{name}-{number}-{k}.h5") for k in range(len(runs))]
        batched.attack([description.resolve(run) for run in runs], paths)
        found = [poisoncli.evaluate(path) for path in paths]
        parts = [(e.poison.x, e.poison.loss, e.poison.log_lambda, e.evaluations["none"].test_loss) for e in found]
        ends[number] = np.concatenate([np.ravel(leaf) for part in parts for leaf in part])
    np.testing.assert_allclose(ends[4], ends[1], rtol=1e-4, atol=1e-5, err_msg=name)
print(json.dumps(sorted(meshes)))
"""


def child(folder, *command):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    environment = {**os.environ, "XLA_FLAGS": flags}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True, text=True, cwd=folder, check=False, env=environment,
    )  # fmt: skip


@pytest.mark.long
def test_four_devices_end_as_one(tmp_path):
    done = child(tmp_path, "-c", CHILD)
    assert done.returncode == 0, done.stderr
    meshes = json.loads(done.stdout.splitlines()[-1])
    for spread in (
        "('4', (3, 1), (3, 1))",
        "('4', (1, 4), (1, 4))",
        "('4', (4, 1), (4, 1))",
        "('1', (3, 1), None)",
    ):
        assert spread in meshes, meshes


@pytest.mark.long
def test_the_option_is_taken_by_attack_and_evaluate(tmp_path):
    command = ("attack", *TINY, "--reps", "2", "--devices", "2", "--out", "run.h5")
    assert child(tmp_path, "-m", "poisoncli", *command).returncode == 0
    done = child(tmp_path, "-m", "poisoncli", "evaluate", "run.h5", "--devices", "5")
    assert done.returncode == 2
    assert "--devices 5" in done.stderr
    assert "at most 4" in done.stderr


@pytest.fixture
def four(monkeypatch):
    """Four devices, as far as their number is asked for."""
    monkeypatch.setattr(devices, "count", lambda: 4)


def test_groups_are_shared_evenly(four):
    sizes = {
        (repetitions, at_once): [one.stop - one.start for one in devices.groups(repetitions, at_once)]
        for repetitions in (1, 3, 4, 7, 10, 16)
        for at_once in (1, 2, 8)
    }
    for (repetitions, at_once), found in sizes.items():
        assert sum(found) == repetitions
        assert all(size % 4 == 0 or size < 4 for size in found)
        assert max(found) <= 4 * at_once
    assert sizes[10, 1] == [4, 4, 2]
    assert sizes[10, 8] == [8, 2]
    assert sizes[3, 8] == [3]


def test_more_devices_than_there_are(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    refused("attack", "--devices", "999", says="--devices 999 are more than there are: ask for at most")
    assert "POISON_DEVICES" not in os.environ
    monkeypatch.setenv("POISON_DEVICES", "many")
    with pytest.raises(PoisonError, match="whole number"):
        devices.count()


def test_an_attack_on_one_device_refuses_several(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(devices, "count", lambda: 4)
    monkeypatch.setenv("POISON_DEVICES", "")
    refused("attack", "--method", "flip", "--devices", "2", says="flip works on one device")


def test_one_device_leaves_arrays_as_they_are():
    rows = np.ones((3, 2))
    assert devices.evenly(rows, 3) is rows
    assert devices.mesh(3) is None
