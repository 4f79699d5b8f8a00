"""What is said of a Dask cluster that does not answer, or is not like this process."""

import importlib.util
import sys

import pytest
from sweeps.small import small

from poisoncli import PoisonError
from poisoncli.sweeps import dask_client
from poisoncli.sweeps.drive import execute

needed = pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="Dask is not installed")


class Client:
    """A client whose workers answer what they are told to."""

    def __init__(self, **answers):
        self.answers = answers

    def run(self, *_, **__):
        return self.answers


@needed
def test_a_scheduler_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(dask_client, "WAIT", 1.0)
    with pytest.raises(PoisonError, match="is no address and no file"):
        execute(small(), tmp_path / "out", scheduler="nowhere.json")


def test_without_dask_its_name_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(PoisonError, match=r"poisoncli\[dask\]"):
        execute(small(), tmp_path / "out", scheduler="nowhere.json")


def test_workers_of_other_versions_are_refused():
    own = dask_client._versions()
    dask_client.check_versions(Client(one=own, two=own))
    with pytest.raises(PoisonError, match=f"two has jax 0.0.1, and here is {own['jax']}: install the same"):
        dask_client.check_versions(Client(one=own, two={**own, "jax": "0.0.1"}))
    with pytest.raises(PoisonError, match="one has no poison: install poisoncli"):
        dask_client.check_versions(Client(one=ImportError("no module named poisoncli")))


def test_a_folder_is_shared_if_all_workers_see_it(tmp_path):
    assert dask_client.shares(Client(one=True, two=True), tmp_path)
    assert not dask_client.shares(Client(one=True, two=False), tmp_path)
    assert not list(tmp_path.iterdir())
