"""What all verbs share: errors, progress, and where things are printed."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import typer
from rich.console import Console

PATIENCE = 2.0  # seconds before a progress bar appears
_UNEXPECTED = (MemoryError, OSError, RuntimeError, ValueError, TypeError, KeyError)


def guarded(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Run a verb; say what went wrong in one sentence on stderr and exit 2 (the request) or 1 (while running)."""

    @functools.wraps(verb)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        debug = kwargs.get("debug", False)
        warnings.showwarning = lambda message, *_, **__: note(f"poison: {message}", kwargs.get("quiet", False))
        try:
            return verb(*args, **kwargs)
        except typer.Exit:  # a RuntimeError, but no failure
            raise
        except KeyboardInterrupt:
            _complain("interrupted", debug)
            raise typer.Exit(1) from None
        except BrokenPipeError:
            sys.stderr.close()
            raise typer.Exit(1) from None
        except Exception as error:
            from poisoncli.core.errors import FailedError, PoisonError  # here, so that help need not wait for JAX

            if isinstance(error, PoisonError):
                _complain(str(error), debug)
                raise typer.Exit(1 if isinstance(error, FailedError) else 2) from None
            if not isinstance(error, _UNEXPECTED):
                raise
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            _complain(f"failed unexpectedly ({text}): --debug shows where", debug)
            raise typer.Exit(1) from None

    return wrapper


def _complain(text: str, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print(f"poison: {text}", file=sys.stderr)


@contextlib.contextmanager
def progress(quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """A function that draws a bar with the time left on stderr, from two seconds on; silent if not a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total, what: None
        return
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    begun, task, started = time.monotonic(), None, False

    def show(done: int, total: int, what: str) -> None:
        nonlocal task, started
        if task is None:
            task = bar.add_task(what, total=total)
        if not started and time.monotonic() - begun > PATIENCE:
            bar.start()
            started = True
        bar.update(task, completed=done, total=total, description=what)

    try:
        yield show
    finally:
        if started:
            bar.stop()


def note(text: str, quiet: bool = False) -> None:
    """A remark for people, on stderr."""
    if not quiet:
        print(text, file=sys.stderr)


def as_json(value: Any) -> str:
    """One line of JSON; numbers that JSON has no word for become null."""
    return json.dumps(_plain(value), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def paths(given: list[str]) -> list[str]:
    """The paths given, where `-` stands for those on stdin, one a line."""
    from poisoncli.core.errors import PoisonError

    result = []
    for path in given:
        result += [line.strip() for line in sys.stdin if line.strip()] if path == "-" else [path]
    if not result:
        raise PoisonError("no path came through stdin: pipe in run files, one a line, or name them")
    return result
