"""poison datasets: what there is, and where it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from poisoncli.cli import choices
from poisoncli.cli.common import as_json, draw, guarded, refuse
from poisoncli.cli.shared_options import Debug, Plugins

if TYPE_CHECKING:
    from poisoncli.runs.description import Choice


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("datasets")(guarded(datasets))


def datasets(
    context: typer.Context,
    path: Annotated[
        str | None,
        typer.Argument(help="Your own file or folder: what its columns are, and what is done with each."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="With a file: the column of the targets.")] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=KIND", help="With a file: what a column is, such as zip=category."),
    ] = None,
    ignore: Annotated[str | None, typer.Option(metavar="NAMES", help="With a file: columns to leave out.")] = None,
    data_dir: Annotated[
        str | None,
        typer.Option(help="Folder of the data sets' files; otherwise $POISON_DATA_DIR, then the cache."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a data set.")] = False,
    plugin: Plugins = None,
    debug: Debug = False,
) -> None:
    """List the data sets: rows, features, classes, and where their files are; or the columns of your own file."""
    if path is not None:
        _own(choices.dataset(path, target, None, column, ignore), json)
        return
    refuse(context, ("target", "column", "ignore"), "only with a file of your own")
    from poisoncli.datasets import describe
    from poisoncli.runs import plugins

    plugins.install()
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


def _own(data: Choice, json: bool) -> None:
    """Print what the columns of a user's file are. Raises `PoisonError` if it cannot be used as it is."""
    from poisoncli.core.errors import PoisonError
    from poisoncli.reports import tables
    from poisoncli.runs import description
    from poisoncli.tables.inspect import refuse as refuse_all

    if data.name != "file":
        raise PoisonError(f"{data.name} is a data set of ours: name a file or a folder of your own")
    method = description.build(description.resolve(description.Run(dataset=data)).dataset, "dataset")
    found = method.inspect()
    if json:
        for column in found.columns:
            known = {name: getattr(column, name) for name in ("name", "kind", "missing", "distinct")}
            print(as_json({**known, "use": found.uses[column.name]}))
    else:
        draw(tables.columns(found, str(data.options["path"])))
    refuse_all(found.problems, str(data.options["path"]))
    dataset = method.load()
    if not json:
        draw(tables.balance(dataset, found.target))
