"""poison datasets: what there is, and where it lies."""

from __future__ import annotations

from typing import Annotated

import typer

from poisoncli.cli.common import as_json, draw, guarded


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("datasets")(guarded(datasets))


def datasets(
    data_dir: Annotated[
        str | None,
        typer.Option(help="Folder of the data sets' files; otherwise $POISON_DATA_DIR, then the cache."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a data set.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """List the data sets: rows, features, classes, and where their files were found."""
    from poisoncli.datasets import describe

    found = describe(data_dir)
    if json:
        for row in found:
            print(as_json({**row, "classes": list(row["classes"])}))
        return
    from poisoncli.reports.tables import Table

    rows = [
        [
            row["name"],
            *(f"{row[name]:,}" if row[name] else "-" for name in ("rows", "features")),
            ", ".join(row["classes"]) or "-",
            row["where"],
            row["description"],
        ]
        for row in found
    ]
    draw(Table("", ["name", "rows", "features", "classes", "where", "what"], rows))
