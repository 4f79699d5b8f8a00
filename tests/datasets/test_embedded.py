"""Data sets that need no file, and the table of all data sets."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from poisoncli.core.errors import PoisonError
from poisoncli.core.split import draw
from poisoncli.datasets import DATASETS, describe
from poisoncli.datasets.breast_cancer import BreastCancer
from poisoncli.datasets.digits import Digits
from poisoncli.datasets.gaussians import Gaussians

EMBEDDED = [Digits, BreastCancer, Gaussians]


@pytest.mark.parametrize("dataset", EMBEDDED)
def test_loads_within_its_domain_and_twice_the_same(dataset):
    data, again = dataset().load(None), dataset().load(None)
    assert data.x.dtype == data.y.dtype == np.float32
    assert data.x.shape == (len(data.y), dataset.features)
    assert np.all((data.low <= data.x) & (data.x <= data.high))
    assert set(data.y.tolist()) == {0.0, 1.0}
    assert data.task == "binary"
    assert data.sha256 == again.sha256
    assert np.array_equal(data.x, again.x)


@pytest.mark.parametrize("dataset", EMBEDDED)
def test_default_sizes_can_be_drawn(dataset):
    data = dataset().load(None)
    parts = draw(np.random.default_rng(0), data.y, data.task, dataset.sizes)
    assert tuple(map(len, parts)) == dataset.sizes


@pytest.mark.parametrize("dataset", [Digits, BreastCancer])
def test_unknown_class_is_refused(dataset):
    with pytest.raises(PoisonError, match="no class 11"):
        dataset(classes=(0, 11)).load(None)


def test_table_describes_every_data_set_without_its_files(tmp_path, monkeypatch):
    monkeypatch.setenv("POISON_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    listing = {row["name"]: row for row in describe(None)}
    assert list(listing) == list(DATASETS)
    assert listing["digits"]["where"] == "embedded"
    assert listing["gaussians"]["where"] == "generated"
    assert f"into {tmp_path / 'mnist'}" in listing["mnist"]["where"]
    assert listing["cifar10"]["where"].startswith("not found: put cifar-10-binary.tar.gz into")
    assert "--dataset" in listing["file"]["where"]
    json.dumps(list(listing.values()))


@pytest.mark.parametrize("dataset", DATASETS.values())
def test_data_sets_are_documented_frozen_methods(dataset):
    assert dataclasses.is_dataclass(dataset)
    assert dataset.__doc__
    assert dataset.description
    assert dataset.__dataclass_params__.frozen


def test_import_is_light():
    heavy = "{'sklearn', 'pandas', 'h5py', 'pyarrow', 'pooch'}"
    code = f"import sys, poisoncli.datasets; sys.exit(', '.join({heavy} & set(sys.modules)) or None)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
