"""Ctrl-C, SIGTERM and a closed terminal while a verb runs: they unwind it, so that it keeps what is done."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

_AGAIN = 0.1  # seconds until an interruption that got lost comes again
PATIENCE = 20.0  # seconds that compiled code, which hears no signal, may go on after one


class Received:
    """The first signal that came while the verb ran; 0 before."""

    number: int = 0


_now = Received()


@contextlib.contextmanager
def raising() -> Iterator[Received]:
    """Let a signal raise `KeyboardInterrupt` in the main thread, and say which one it was.

    Where code that cannot raise (a garbage collection, a callback of a library) swallows it, it comes again.
    """
    global _now
    received = _now = Received()
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.number = received.number or number
        raise KeyboardInterrupt

    def lost(unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            ignored(unraisable)
        elif received.number:
            again = threading.Timer(_AGAIN, os.kill, (os.getpid(), received.number))
            again.daemon = True
            again.start()

    ignored, sys.unraisablehook = sys.unraisablehook, lost
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    former = {number: signal.getsignal(number) for number in numbers}
    for number, handler in former.items():
        if handler not in (signal.SIG_IGN, None):
            signal.signal(number, interrupt)
    try:
        with _watched(received, numbers):
            yield received
    finally:
        for number, handler in former.items():
            if handler is not None:
                signal.signal(number, handler)
        sys.unraisablehook = ignored


@contextlib.contextmanager
def _watched(received: Received, numbers: list[int]) -> Iterator[None]:
    """Let a second thread end the process where a signal has come, and the main thread does not hear it.

    Python handles signals between two of its own instructions, and a training is one call of compiled code. While
    that lasts the main thread writes no file. It has `PATIENCE` to end; a second signal takes it away.
    """
    if os.name != "posix":
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def watch() -> None:
        for (number,) in iter(lambda: os.read(reader, 1), b""):
            if number not in numbers:
                continue
            time.sleep(_AGAIN)  # which is enough to hear it, outside of compiled code
            select.select([reader], [], [], PATIENCE)  # until a second signal, or the end of the verb
            if not received.number and not ended:
                os.write(2, b"poison: interrupted in the middle of a long computation: repeat the command\n")
                os._exit(128 + number)
        os.close(reader)

    ended: list[bool] = []
    threading.Thread(target=watch, daemon=True).start()
    former = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(former, warn_on_full_buffer=False)
        ended.append(True)
        os.close(writer)


def check() -> None:
    """Raise `KeyboardInterrupt` if a signal came that some library swallowed."""
    if _now.number:
        raise KeyboardInterrupt


def ignore() -> None:
    """From now on the verb is leaving, and further signals change nothing."""
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_IGN)
