"""A Dask cluster as a sweep finds it: whether it answers, whether its workers are like this process."""

from __future__ import annotations

import importlib.metadata
import os
import uuid
from pathlib import Path
from typing import Any

from poisoncli.core.errors import PoisonError

WAIT = 30.0  # seconds for a scheduler to answer, and for a first worker
_PACKAGES = ("poisoncli", "jax", "numpy")  # of the same versions everywhere: results are equal to the bit


def connect(address: str) -> Any:
    """A client of the scheduler. Raises `PoisonError` where none answers, or Dask is not there."""
    try:
        from distributed import Client
    except ImportError:
        raise PoisonError("--scheduler needs Dask: pip install 'poisoncli[dask]'") from None
    where: dict[str, Any] = {"address": address} if "://" in address else {"scheduler_file": address}
    if "scheduler_file" in where and not Path(address).is_file():
        raise PoisonError(
            f"--scheduler {address} is no address and no file: give one as tcp://HOST:8786, or the file that "
            "`dask scheduler --scheduler-file FILE` writes"
        )
    try:
        client = Client(**where, timeout=WAIT, set_as_default=False)
        client.wait_for_workers(1, timeout=WAIT)
    except (OSError, TimeoutError, ValueError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PoisonError(
            f"the Dask scheduler at {address} does not answer, or has no workers ({text}): start it with "
            "`dask scheduler`, and workers with `dask worker ADDRESS --nthreads 1`"
        ) from None
    return client


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def check_versions(client: Any) -> None:
    """Raise `PoisonError` unless all workers have the packages that decide the results, in these versions."""
    own = _versions()
    for address, found in client.run(_versions, on_error="return").items():
        if isinstance(found, BaseException):
            raise PoisonError(
                f"the Dask worker {address} has no poison: install poisoncli {own['poisoncli']} there"
            )
        for name in _PACKAGES:
            if found[name] != own[name]:
                raise PoisonError(
                    f"the Dask worker {address} has {name} {found[name]}, and here is {own[name]}: install the same"
                )


def shares(client: Any, hidden: Path) -> bool:
    """Whether all workers see the sweep's folder."""
    probe = hidden / f"{uuid.uuid4().hex}.probe"
    probe.touch()
    try:
        return all(client.run(os.path.exists, str(probe)).values())
    finally:
        probe.unlink()
