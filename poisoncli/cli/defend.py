"""poison defend: let defenses weigh the training rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poisoncli.cli import choices
from poisoncli.cli.common import (
    as_json,
    draw,
    guarded,
    note,
    paths,
    print_csv,
    progress,
    refuse,
    refuse_both,
)
from poisoncli.cli.shared_options import (
    Classes,
    Column,
    DataDir,
    Debug,
    Ignore,
    Plugins,
    Quiet,
    Target,
    Victims,
)

if TYPE_CHECKING:
    from poisoncli.runs.description import Choice
    from poisoncli.runs.own_rows import WeighedRows
    from poisoncli.training.own_models import Victim


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("defend", add_help_option=False)(guarded(defend))


def defend(
    context: typer.Context,
    runs: Annotated[
        list[str] | None, typer.Argument(help="Run files of `poison attack`; - reads their paths from stdin.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Instead of run files: your own data, or a data set, without an attack.")
    ] = None,
    poison: Annotated[
        str | None,
        typer.Option(
            help="With --dataset: poison of another tool to add (.npz, .mat, .csv, .h5); counts what is caught."
        ),
    ] = None,
    target: Target = None,
    classes: Classes = None,
    column: Column = None,
    ignore: Ignore = None,
    trusted: Annotated[
        str | None, typer.Option(help="With --dataset: a file of clean rows, for defenses that need some.")
    ] = None,
    lambda_: Annotated[
        float | None,
        typer.Option(
            "--lambda",
            help="With --dataset: coefficient of the learner's l2 penalty in the mean loss. Default: none; with "
            "--poison the papers' for the data set, or 0.01 for an svm.",
        ),
    ] = None,
    figure: Annotated[
        str | None, typer.Option(help="With --dataset: draw rows and scores (.png, .pdf, .svg).")
    ] = None,
    defense: Annotated[
        list[str] | None,
        typer.Option("--defense", "-d", help="A defense, or all that fit the targets. May be repeated."),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "-o", metavar="NAME=VALUE", help="An option of the defenses that have it; of one as DEFENSE.NAME."
        ),
    ] = None,
    victim: Victims = None,
    export: Annotated[
        str | None,
        typer.Option(help="Write the rows that the defense keeps (.csv, .npz, .parquet); needs one run file."),
    ] = None,
    fraction: Annotated[
        float | None,
        typer.Option(help="With --export: share of poison, the nearest stage is taken. Default: the largest."),
    ] = None,
    repetition: Annotated[int, typer.Option(help="With --export: which repetition, from 0.")] = 0,
    csv: Annotated[bool, typer.Option("--csv", help="With --dataset: print all rows as CSV.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing export or figure.")] = False,
    data_dir: DataDir = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a run.")] = False,
    quiet: Quiet = False,
    plugin: Plugins = None,
    debug: Debug = False,
    help_: Annotated[
        bool, typer.Option("--help", "-h", help="Show this, or with --defense the defense's options.")
    ] = False,
) -> None:
    """Let defenses weigh the training rows at every fraction of poison, and keep the weights in the run file.

    `poison evaluate` then trains the victim behind each defense. Prints the run files' paths. With --dataset
    it looks at your own data instead, and prints the suspicious rows and why they are.
    """
    if help_:
        print(choices.method_help("defense", defense[0]) if defense else context.get_help())
        return
    from poisoncli.core.errors import PoisonError
    from poisoncli.defenses import DEFENSES
    from poisoncli.runs import own_rows
    from poisoncli.runs.export import new_file

    files = paths(runs) if runs else []
    if poison is not None and dataset is None:
        raise PoisonError("--poison goes with --dataset: name the data that the poison is added to")
    if (dataset is None) == (not files):
        raise PoisonError("give either run files of `poison attack`, or --dataset with your own data")
    _check_use(context, dataset is not None, poison is not None, export is not None)
    victims, given = choices.victims(victim or [], options or [])
    names = defense or []
    if not names:
        raise PoisonError(f"name a defense with --defense: {', '.join(DEFENSES)}, or all")
    for out in filter(None, (export, figure)):
        context.with_resource(new_file(Path(out), force))
    if dataset is None:
        place = {"fraction": fraction, "repetition": repetition}
        _defend(files, names, given, export, place, json, quiet, data_dir)
        if victims:
            _measure(files, victims, quiet or json, data_dir)
        return
    data = choices.dataset(dataset, target, classes, column, ignore)
    real = "all" in names and own_rows.load(data, data_dir).task == "real"
    wanted = choices.defenses(names, given, real)
    if poison is not None:
        _catch(data, poison, wanted, lambda_, json, data_dir)
    else:
        if (export or figure) and len(wanted) > 1:
            raise PoisonError("--export and --figure are about one defense: give one --defense")
        for choice in wanted:
            found = own_rows.weigh_rows(data, choice, trusted=trusted or "", lambda_=lambda_, data_dir=data_dir)
            _show(found, export, figure, csv, json, quiet)
        if export and classes:
            note("rows of other classes were not judged, and are not in it", quiet)


def _check_use(context: typer.Context, dataset: bool, poison: bool, export: bool) -> None:
    """Raise `PoisonError` if an option was typed that would be ignored."""
    refuse_both(context, "csv", "json")
    if not dataset:
        refuse(
            context,
            ("target", "classes", "column", "ignore", "trusted", "lambda_", "figure", "csv"),
            "only with --dataset",
        )
    if dataset:
        refuse(context, ("victim",), "victims are trained on the rows of run files")
    if dataset or not export:
        refuse(context, ("fraction", "repetition"), "only with --export of a run file")
    if poison:
        why = "with --poison it is counted what each defense catches, and no rows are listed or written"
        refuse(context, ("trusted", "figure", "csv", "export"), why)


def _defend(
    files: list[str],
    names: list[str],
    options: list[str],
    export: str | None,
    place: dict,
    json: bool,
    quiet: bool,
    data_dir: str | None,
) -> None:
    """Let the defenses weigh the rows of run files, and keep the weights there."""
    from poisoncli.core.errors import PoisonError
    from poisoncli.runs import run_file, stages
    from poisoncli.runs.export import counted
    from poisoncli.runs.export import export as export_rows

    wanted = {path: choices.defenses(names, options, run_file.read(path).real) for path in files}
    if export and (len(files) > 1 or len(wanted[files[0]]) > 1):
        raise PoisonError("--export writes one table: give one run file and one --defense")
    for path, chosen in wanted.items():
        contents = []
        for choice in chosen:
            with progress(quiet) as report:
                contents.append(stages.defend(path, choice, data_dir=data_dir, report=report))
        if export:
            export_rows(contents[-1], export, defense=chosen[0].name, data_dir=data_dir, **place)
            note(f"wrote the rows that {chosen[0].name} keeps to {export}", quiet)
            note(f"the columns row and replaced count {counted(contents[-1])}", quiet)
        print(as_json({"run": path, "defenses": [choice.name for choice in chosen]}) if json else path)
        note(f"next: poison evaluate {path}", quiet or json)


def _measure(files: list[str], victims: list[Victim], quiet: bool, data_dir: str | None) -> None:
    """Train victims from outside on what the defenses leave, and keep that in the run files."""
    from poisoncli.runs import victims as outside

    several = []
    for path in files:
        with progress(quiet) as report:
            several.append(outside.add(path, victims, data_dir=data_dir, report=report))
    if any(outside.failed(content, victims) for content in several):
        raise typer.Exit(1)


def _catch(
    data: Choice, poison: str, wanted: list[Choice], lambda_: float | None, json: bool, data_dir: str | None
) -> None:
    """Print what each defense removes of a data set's rows and of poison added to them."""
    import dataclasses

    from poisoncli.reports import tables
    from poisoncli.runs import replay

    content = replay.with_given_poison(data, poison, lambda_=lambda_, data_dir=data_dir)
    found = replay.detect(content, wanted, data_dir)
    if json:
        for one in found:
            print(as_json(dataclasses.asdict(one)))
    else:
        draw(tables.caught(found, poison, str(data.options.get("path", data.name))))


def _show(found: WeighedRows, export: str | None, figure: str | None, csv: bool, json: bool, quiet: bool) -> None:
    """Print, write and draw what a defense finds in a data set."""
    from poisoncli.reports import tables
    from poisoncli.runs import own_rows

    columns = {name: column.tolist() for name, column in found.columns().items()}
    if json:
        about = {"defense": found.defense, "knows": found.knows, "counted": found.counted}
        print(as_json({**about, "rows": columns}))
    elif csv:
        rows = zip(*columns.values(), strict=True)
        print_csv(columns, (dict(zip(columns, row, strict=True)) for row in rows))
    else:
        draw(tables.suspicious(found))
    note(f"the column row counts {found.counted}", quiet or json)
    if export:
        note(f"wrote the rows that {found.defense} keeps to {own_rows.write_kept(found, export)}", quiet)
    if figure:
        from poisoncli.reports.defenses import draw_weighed

        note(f"drew {draw_weighed(found, figure)}", quiet)
