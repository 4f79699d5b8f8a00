"""poison check: hold methods of one's own against the contract of the built-in ones."""

from __future__ import annotations

from typing import Annotated

import typer

from poisoncli.cli.common import as_json, guarded
from poisoncli.cli.shared_options import Debug


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("check")(guarded(check))


def check(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE.py", help="Files with attacks, defenses, models or data sets.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each point.")] = False,
    debug: Debug = False,
) -> None:
    """Hold your own attacks, defenses, models and data sets against the contract that the built-in ones keep.

    A line for each point: whether it is kept, or what is wrong. Exits with status 1 if one is not kept.
    """
    from poisoncli.runs import contract, plugins

    broken = False
    for kind, name in plugins.load(files):
        for point in contract.check(kind, name):
            broken |= bool(point.breach)
            if json:
                print(as_json(point._asdict()), flush=True)
                continue
            end = f": {point.breach}" if point.breach else ""
            print(f"{'FAILED' if point.breach else 'ok':6} {kind} {name} {point.what}{end}", flush=True)
    if broken:
        raise typer.Exit(1)
