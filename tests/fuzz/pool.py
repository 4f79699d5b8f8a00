"""Cases run by several zygotes at once."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fuzz.case import MEMORY, SECONDS, Case, Outcome, complaint

_HERE = Path(__file__).resolve().parent
_READ = 100_000  # characters of stdout and stderr that are kept


class Zygote:
    """One process of `zygote.py`, and what it is asked. A context manager."""

    def __init__(self, cache: Path) -> None:
        paths = [str(_HERE.parent), str(_HERE.parent.parent), os.environ.get("PYTHONPATH", "")]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("POISON_")},
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(cache),  # compiling is most of what a small run takes
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            "OPENBLAS_NUM_THREADS": "1",
            "XDG_CACHE_HOME": str(cache / "empty"),  # no data sets but those that a case brings
            "http_proxy": "http://127.0.0.1:9",  # and none from the network
            "https_proxy": "http://127.0.0.1:9",
            "PYTHONWARNINGS": "ignore:.*fork:RuntimeWarning",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fuzz.zygote"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=tempfile.gettempdir(),
        )  # fmt: skip

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *_: Any) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(timeout=SECONDS)
        self._process.stdout.close()

    def run(self, case: Case, folder: Path, seconds: float = SECONDS) -> Outcome:
        """Run the case in `folder`, where its files are laid out already."""
        assert self._process.stdin
        assert self._process.stdout
        with tempfile.TemporaryDirectory() as beside:
            streams = {name: Path(beside) / name for name in ("stdin", "stdout", "stderr")}
            streams["stdin"].write_text(case.stdin)
            asked = {
                "args": case.args,
                "folder": str(folder),
                "environment": case.environment,
                "signal": case.signal,
                "after": case.after,
                "memory": MEMORY,
                "seconds": seconds,
                "streams": case.streams.split("+")[0],
                "stderr_closed": case.streams.endswith("+stderr"),
                **{name: str(path) for name, path in streams.items()},
            }
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
            said = {name: _text(streams[name]) for name in ("stdout", "stderr")}
        return Outcome(**answer, **said)

    def judge(self, case: Case, seconds: float = SECONDS) -> tuple[Outcome, str]:
        """Run the case in a folder of its own; its outcome, and what is wrong with it."""
        above = Path(tempfile.mkdtemp(prefix="fuzz-"))
        folder = above / "work"  # so that ../ leads to a place of its own too
        folder.mkdir()
        try:
            case.lay_out(folder)
            outcome = self.run(case, folder, seconds)
            wrong = complaint(case, outcome, folder)
            for args in case.then:
                if wrong or outcome.status:
                    break
                outcome = self.run(dataclasses.replace(case, args=args), folder, seconds)
                wrong = complaint(case, outcome, folder)
            return outcome, wrong
        finally:
            shutil.rmtree(above, ignore_errors=True)


def _text(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError), path.open(errors="replace") as file:
        return file.read(_READ)
    return ""


def run(cases: Iterable[Case], workers: int, cache: Path) -> Iterator[tuple[Case, Outcome, str]]:
    """Each case with its outcome and what is wrong with it, in the order in which they end."""
    waiting, done, given = iter(cases), queue.Queue(), threading.Lock()

    def work() -> None:
        try:
            with Zygote(cache) as zygote:
                while True:
                    with given:
                        case = next(waiting, None)
                    if case is None:
                        break
                    done.put((case, *zygote.judge(case)))
            done.put(None)
        except BaseException as error:
            done.put(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    left = workers
    while left:
        found = done.get()
        if isinstance(found, BaseException):
            raise found
        if found is None:
            left -= 1
        else:
            yield found
