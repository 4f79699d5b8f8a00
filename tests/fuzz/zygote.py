"""A process that has imported the package, but started no backend of JAX; it forks a child for each case.

Fork is safe as long as JAX has no threads. Requests and answers are lines of JSON on stdin and stdout.
"""

# ruff: noqa: F401 (what is imported here, the children need not import)
from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import sys
import time
import warnings
from typing import Any


def main() -> None:
    """Answer requests until stdin ends."""
    warnings.filterwarnings("ignore", message=".*fork.*")
    questions, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        os.dup2(os.open(os.devnull, mode), number)
    _import()
    for line in questions:
        print(json.dumps(_run(json.loads(line))), file=answers, flush=True)


def _import() -> None:
    """What the verbs import, so that the children need not."""
    import jax._src.lax.lax
    import matplotlib.figure
    import pandas
    import pooch
    import pyarrow.parquet
    import requests
    import rich.progress
    import scipy.io
    import sklearn.datasets
    import sklearn.ensemble
    import sklearn.linear_model
    import sklearn.svm

    import poisoncli.cli
    import poisoncli.reports.figures
    import poisoncli.runs.own_rows
    import poisoncli.runs.stages
    import poisoncli.sweeps.drive

    assert not jax._src.xla_bridge._backends, "a backend has been started: its threads do not survive a fork"


def _run(asked: dict[str, Any]) -> dict[str, Any]:
    """Fork, wait, send the signal, end what takes too long; the answer."""
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        _become(asked)
    with contextlib.suppress(OSError):  # the child does the same: whoever is first
        os.setpgid(child, child)
    handle = os.pidfd_open(child)
    ended, hung = False, False
    if asked["signal"]:
        ended = bool(select.select([handle], [], [], asked["after"])[0])
        if not ended:
            signal.pidfd_send_signal(handle, getattr(signal, asked["signal"]))
    if not ended:
        left = asked["seconds"] - (time.monotonic() - begun)
        hung = not select.select([handle], [], [], max(left, 0.0))[0]
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # and what it has started
    _, status, used = os.wait4(child, 0)
    os.close(handle)
    return {
        "status": os.waitstatus_to_exitcode(status),
        "seconds": time.monotonic() - begun,
        "cpu": used.ru_utime + used.ru_stime,
        "memory": used.ru_maxrss * 1024,
        "hung": hung,
    }


def _become(asked: dict[str, Any]) -> None:
    """The child: limits, folder, streams; then the command line. Does not return."""
    try:
        os.setpgid(0, 0)
        _end_with_parent()
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # heard, also where the harness was started to ignore them
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        os.chdir(asked["folder"])
        os.environ.update(asked["environment"])
        resource.setrlimit(resource.RLIMIT_DATA, (2 * asked["memory"], 2 * asked["memory"]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.dup2(os.open(asked["stdin"], os.O_RDONLY), 0)
        streams = asked["streams"]
        for number, place in ((1, asked["stdout"]), (2, asked["stderr"])):
            handle = os.open(os.devnull if streams == "full" and number == 1 else place, os.O_WRONLY | os.O_CREAT)
            os.dup2(handle, number)
        if streams == "files":
            _command(asked["args"])
        if streams == "full":
            os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
        elif streams == "pipe":
            reader, writer = os.pipe()
            os.close(reader)
            os.dup2(writer, 1)
        elif streams == "ascii":
            os.environ.update(PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0")
        elif streams == "closed":
            os.close(1)
            if asked["stderr_closed"]:
                os.close(2)
        command = asked["args"] if streams == "python" else ["-m", "poisoncli", *asked["args"]]
        os.execv(sys.executable, [sys.executable, *command])
    finally:
        os._exit(99)


def _end_with_parent() -> None:
    """Let no child outlive a zygote that is killed."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _command(args: list[str]) -> None:
    """Run `poison args` in this process, and end it."""
    import traceback

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    sys.argv = ["poison", *args]
    status: Any = 0
    try:
        from poisoncli.__main__ import main as command

        command()
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    with contextlib.suppress(Exception):
        sys.stderr.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


if __name__ == "__main__":
    main()
