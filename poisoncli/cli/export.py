"""poison export: the poisoned rows for other tools."""

from __future__ import annotations

from typing import Annotated

import typer

from poisoncli.cli.common import guarded, note, one_path
from poisoncli.cli.shared_options import DataDir, Debug, Plugins


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("export")(guarded(export))


def export(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="A run file of `poison attack`; - reads its path from stdin.")],
    out: Annotated[str, typer.Argument(help="The file to write: .npz, .csv or .parquet.")],
    fraction: Annotated[
        float | None, typer.Option(help="Share of poison; the nearest stage is taken. Default: the largest.")
    ] = None,
    repetition: Annotated[int, typer.Option(help="Which repetition, from 0.")] = 0,
    params: Annotated[
        bool, typer.Option("--params", help="Add the victim's parameters w0, b0, ... (.npz only).")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    data_dir: DataDir = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No remarks.")] = False,
    plugin: Plugins = None,
    debug: Debug = False,
) -> None:
    """Write the poisoned training rows, with columns that mark the poison and the rows it replaced."""
    from pathlib import Path

    from poisoncli.runs import run_file
    from poisoncli.runs.export import counted, new_file
    from poisoncli.runs.export import export as export_rows

    context.with_resource(new_file(Path(out), force))
    content = run_file.read(one_path(run))
    print(export_rows(content, out, fraction=fraction, repetition=repetition, params=params, data_dir=data_dir))
    note(f"the columns row and replaced count {counted(content)}", quiet)
