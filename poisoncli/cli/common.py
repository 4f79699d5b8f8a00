"""What all verbs share: errors, progress, and where things are printed."""

from __future__ import annotations

import contextlib
import csv
import errno
import functools
import json
import logging
import math
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from poisoncli.cli import signals

if TYPE_CHECKING:
    from poisoncli.reports.tables import Table
    from poisoncli.runs.run_file import RunFile

PATIENCE = 2.0  # seconds before a progress bar appears
_UNEXPECTED = (MemoryError, OSError, RuntimeError, ValueError, TypeError, KeyError)
_OUTPUT = (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG)  # where stdout cannot be written
_KEPT = "the run files keep what was finished, and the same command does the rest"
_INTERRUPTED = {"defend": _KEPT, "evaluate": _KEPT}  # what a user does next, by verb


def guarded(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Run a verb; say what went wrong in one sentence on stderr and exit with its status.

    That is 2 (the request), 1 (while running), 130 (Ctrl-C), 143 (SIGTERM) or 129 (the terminal was closed).
    """

    @functools.wraps(verb)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        debug = kwargs.get("debug", False)
        warnings.showwarning = lambda message, *_, **__: note(f"poison: {message}", kwargs.get("quiet", False))
        with signals.raising() as received, remarks(kwargs.get("quiet", False)):
            try:
                _keep_compiled()
                with _spread(kwargs.get("devices")):
                    _bring(kwargs.get("plugin"))
                    result = verb(*args, **kwargs)
                    sys.stdout.flush()
                    return result
            except typer.Exit:  # a RuntimeError, but no failure
                raise
            except BrokenPipeError:
                drop_output()
                sys.stderr.close()
                raise typer.Exit(1) from None
            except (KeyboardInterrupt, SystemExit, Exception) as error:
                if received.number:  # whatever a library made of it
                    signals.ignore()
                text, status = _verdict(error, verb.__name__, received.number, kwargs.get("plugin"))
                if not text:
                    raise
                _complain(text, debug)
                raise typer.Exit(status) from None

    return wrapper


def _keep_compiled() -> None:
    """Compile once: see the module."""
    from poisoncli.runs import compilation_cache

    compilation_cache.keep()


@contextlib.contextmanager
def _spread(wanted: int | None) -> Iterator[None]:
    """Take so many devices, here and in processes started from here. Raises `PoisonError` if there are fewer."""
    if wanted is None:
        yield
        return
    from poisoncli.training import devices

    before = os.environ.get(devices.VARIABLE)
    os.environ[devices.VARIABLE] = str(wanted)
    try:
        devices.count()
        yield
    finally:
        if before is None:
            del os.environ[devices.VARIABLE]
        else:
            os.environ[devices.VARIABLE] = before


def _bring(files: list[str] | None) -> None:
    """Add the methods of files that the user names."""
    if files:
        from poisoncli.runs import plugins

        plugins.load(files)


def _verdict(error: BaseException, verb: str, number: int, files: list[str] | None) -> tuple[str, int]:
    """What is said of an error, and the exit status; no text for what is left to Python.

    number: of the signal that came, or 0. files: of methods that the user brought, which may be at fault.
    """
    from poisoncli.core.errors import FailedError, Interrupted, PoisonError  # here, so that help need not wait

    if isinstance(error, Interrupted):
        return str(error), 128 + (number or signal.SIGINT)
    if number or isinstance(error, KeyboardInterrupt):
        cure = _INTERRUPTED.get(verb, "repeat the command")
        return f"interrupted: {cure}", 128 + (number or signal.SIGINT)
    if isinstance(error, PoisonError):
        return str(error), 1 if isinstance(error, FailedError) else 2
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):  # as XLA calls it
        return "there is not enough memory: take fewer rows, columns or repetitions", 1
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot use {error.filename} ({error.strerror}): check the path", 2
    if isinstance(error, OSError) and error.errno in _OUTPUT:
        drop_output()
        return f"cannot write the output ({error.strerror}): send it to a place with room", 1
    if files:
        from poisoncli.runs import plugins

        return plugins.blame(error, files), 1
    if not isinstance(error, _UNEXPECTED):
        return "", 1
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"failed unexpectedly ({text}): --debug shows where", 1


class _Remarks(logging.Handler):
    """Says on stderr, once each, what the package logs."""

    def __init__(self, quiet: bool) -> None:
        super().__init__()
        self.quiet, self.said = quiet, set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self.said:
            self.said.add(text)
            note(f"poison: {text}", self.quiet)


@contextlib.contextmanager
def remarks(quiet: bool) -> Iterator[None]:
    """Within it people are told what is done to their data, and what was decided for them."""
    logger, handler = logging.getLogger("poisoncli"), _Remarks(quiet)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def drop_output() -> None:
    """Let what stdout still holds go nowhere, so that Python does not fail on it once more at its end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(text: str, debug: bool) -> None:
    with contextlib.suppress(OSError):  # a terminal that was closed
        if debug:
            traceback.print_exc()
        print(f"poison: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress(quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """A function that draws a bar with the time left on a terminal's stderr, from two seconds on."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total, what: signals.check()
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
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    own = sys.stdout.isatty()  # results go above the bar, but to a pipe where there is one
    bar = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=own)
    task = bar.add_task("preparing", total=None)  # a bar that only moves, until something is counted
    patience = threading.Timer(PATIENCE, bar.start)
    patience.daemon = True

    def show(done: int, total: int, what: str) -> None:
        signals.check()
        bar.update(task, completed=done, total=total, description=what)

    patience.start()
    try:
        yield show
    finally:
        patience.cancel()
        patience.join()  # a bar that has just begun is stopped too
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


def evaluated(files: list[str], data_dir: str | None, quiet: bool, metric: str = "") -> list[tuple[str, RunFile]]:
    """Paths and contents of run files, each evaluated, and saved where that can be done, else with a warning.

    metric: what is wanted of them beyond the error, which files of older versions lack.
    """
    from poisoncli.runs import stages

    result = []
    for path in files:
        with progress(quiet) as report:
            found = stages.evaluate(path, data_dir=data_dir, measures=bool(metric), report=report)
            result.append((path, found))
    return result


def draw(table: Table) -> None:
    """Print a table on standard output."""
    from poisoncli.cli.grid import Grid, console
    from poisoncli.reports.tables import WORDS

    grid = Grid(table.title)
    for name in table.columns:
        grid.add_column(name, justify="left" if name in WORDS else "right")
    for row in table.rows:
        grid.add_row(*row)
    console().print(grid)


def print_csv(names: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print rows as CSV; what a row lacks is empty."""
    writer = csv.DictWriter(sys.stdout, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def paths(given: list[str]) -> list[str]:
    """The paths given, where `-` stands for those on stdin, one a line."""
    from poisoncli.core.errors import PoisonError

    result = []
    for path in given:
        result += [line.strip() for line in sys.stdin if line.strip()] if path == "-" else [path]
    if not result:
        raise PoisonError("no path came through stdin: pipe in run files, one a line, or name them")
    return result


def one_path(given: str) -> str:
    """The only path given, or on stdin. Raises `PoisonError` if several come."""
    from poisoncli.core.errors import PoisonError

    found = paths([given])
    if len(found) > 1:
        raise PoisonError(f"{len(found)} paths came through stdin and one is read here: pipe in one run file")
    return found[0]


def refuse(context: typer.Context, names: Iterable[str], why: str) -> None:
    """Raise `PoisonError` if the user typed an option, by the names of its parameters, that would be ignored."""
    from poisoncli.core.errors import PoisonError

    typed = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in set(names) and _typed(context, str(parameter.name))
    ]
    if typed:
        raise PoisonError(f"{' and '.join(typed)} {'is' if len(typed) == 1 else 'are'} of no use here: {why}")


def refuse_both(context: typer.Context, one: str, other: str) -> None:
    """Raise `PoisonError` if the user typed both of two options that contradict each other."""
    if _typed(context, one):
        refuse(context, [other], f"--{one.replace('_', '-')} says otherwise, so give one of them")


def _typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
