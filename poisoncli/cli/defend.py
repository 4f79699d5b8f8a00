"""poison defend: let defenses weigh the training rows."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from poisoncli.cli.common import as_json, guarded, note, paths, progress, refuse, refuse_both
from poisoncli.cli.grid import Grid, console


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("defend")(guarded(defend))


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
            help="For --dataset: poison of another tool to add (.npz, .mat, .csv, .h5); counts what is caught."
        ),
    ] = None,
    target: Annotated[str | None, typer.Option(help="For --dataset: the column of the targets.")] = None,
    classes: Annotated[str | None, typer.Option(help="For --dataset: the two classes, such as ham,spam.")] = None,
    trusted: Annotated[
        str | None, typer.Option(help="For --dataset: a file of clean rows, for defenses that need some.")
    ] = None,
    figure: Annotated[
        str | None, typer.Option(help="For --dataset: draw rows and scores (.png, .pdf, .svg).")
    ] = None,
    defense: Annotated[
        list[str] | None,
        typer.Option("--defense", "-d", help="A defense, or all that fit the targets. May be repeated."),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "-o", metavar="NAME=VALUE", help="An option of the defense; of one among several as DEFENSE.NAME."
        ),
    ] = None,
    export: Annotated[
        str | None,
        typer.Option(help="Write the rows that the defense keeps (.csv, .npz, .parquet); needs one run file."),
    ] = None,
    fraction: Annotated[
        float | None,
        typer.Option(help="For --export: share of poison, the nearest stage is taken. Default: the largest."),
    ] = None,
    repetition: Annotated[int, typer.Option(help="For --export: which repetition, from 0.")] = 0,
    csv: Annotated[bool, typer.Option("--csv", help="For --dataset: print all rows as CSV.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing export or figure.")] = False,
    data_dir: Annotated[str | None, typer.Option(help="Folder of the data sets' files.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a run.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no remarks.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Let defenses weigh the training rows at every fraction of poison, and keep the weights in the run file.

    `poison evaluate` then trains the victim behind each defense. Prints the run files' paths. With --dataset
    it looks at your own data instead, and prints the suspicious rows and why they are.
    """
    from pathlib import Path

    from poisoncli.core.errors import PoisonError
    from poisoncli.runs import audit, run_file, stages
    from poisoncli.runs.export import check_free, counted
    from poisoncli.runs.export import export as export_rows

    files = paths(runs) if runs else []
    if poison is not None and dataset is None:
        raise PoisonError("--poison goes with --dataset: name the data that the poison is added to")
    if (dataset is None) == (not files):
        raise PoisonError("give either run files of `poison attack`, or --dataset with your own data")
    _check_use(context, dataset is not None, poison is not None, export is not None)
    if dataset is not None:
        for out in filter(None, (export, figure)):
            check_free(Path(out), force)
        data = _dataset(dataset, target, classes)
        real = "all" in (defense or []) and audit.load(data, data_dir).task == "real"
        choices = chosen(defense or [], options or [], real)
        if poison is not None:
            _catch(data, poison, choices, json, data_dir)
            return
        _screen(data, choices, trusted or "", export, figure, csv, json, quiet, data_dir)
        return
    wanted = {path: chosen(defense or [], options or [], run_file.read(path).real) for path in files}
    if export and (len(files) > 1 or len(wanted[files[0]]) > 1):
        raise PoisonError("--export writes one table: give one run file and one --defense")
    if export:
        check_free(Path(export), force)
    for path, choices in wanted.items():
        contents = []
        for choice in choices:
            with progress(quiet) as report:
                contents.append(stages.defend(path, choice, data_dir=data_dir, report=report))
        if export:
            place = {"fraction": fraction, "repetition": repetition, "data_dir": data_dir}
            export_rows(contents[-1], export, defense=choices[0].name, **place)
            note(f"wrote the rows that {choices[0].name} keeps to {export}", quiet)
            note(f"the columns row and replaced count {counted(contents[-1])}", quiet)
        names = [choice.name for choice in choices]
        print(as_json({"run": path, "defenses": names}) if json else path)
        note(f"next: poison evaluate {path}", quiet or json)


def _check_use(context: typer.Context, dataset: bool, poison: bool, export: bool) -> None:
    """Raise `PoisonError` if an option was typed that would be ignored."""
    refuse_both(context, "csv", "json")
    if not dataset:
        refuse(context, ("target", "classes", "trusted", "figure", "csv"), "only with --dataset")
    if dataset or not export:
        refuse(context, ("fraction", "repetition"), "only with --export of a run file")
    if poison:
        why = "with --poison it is counted what each defense catches, and no rows are listed or written"
        refuse(context, ("trusted", "figure", "csv", "export"), why)


def chosen(names: list[str], options: list[str], real: bool) -> list:
    """The defenses that `--defense` and `-o` name, `all` being those that fit the targets.

    Raises `PoisonError` if an option belongs to none of them.
    """
    from poisoncli.core.errors import PoisonError
    from poisoncli.defenses import DEFENSES
    from poisoncli.runs import description

    if not names:
        raise PoisonError(f"name a defense with --defense: {', '.join(DEFENSES)}, or all")
    wanted = description.defenses(names, real)
    given: dict[str, dict[str, str]] = {name: {} for name in wanted}
    for text in options:
        key, equals, value = text.partition("=")
        name, dot, field = key.strip().rpartition(".")
        if not equals:
            raise PoisonError(f"-o {text} sets nothing: write -o name=value")
        if dot and name not in given:
            raise PoisonError(f"-o {text} is for the defense {name!r}: add --defense {name}")
        if not dot and len(wanted) > 1:
            raise PoisonError(f"-o {text} does not say for which defense: write -o {wanted[0]}.{text}")
        given[name or wanted[0]][field] = value
    return [description.resolve_defense(description.Choice(name, fields)) for name, fields in given.items()]


def _dataset(name: str, target: str | None, classes: str | None) -> Any:
    from poisoncli.runs import description

    choice = description.named("dataset", name)
    given = {key: value for key, value in (("target", target), ("classes", classes)) if value is not None}
    return description.Choice(choice.name, {**choice.options, **given})


def _catch(data: Any, poison: str, choices: list, json: bool, data_dir: str | None) -> None:
    """Print what each defense removes of a data set's rows and of poison added to them."""
    import dataclasses

    from poisoncli.runs import replay

    found = replay.detect(replay.with_given_poison(data, poison, data_dir=data_dir), choices, data_dir)
    if json:
        for one in found:
            print(as_json(dataclasses.asdict(one)))
        return
    shown = Grid(f"{poison} added to {data.name}: {found[0].poison} to {found[0].clean} rows")
    for name in ("defense", "poison removed", "clean removed", "was told"):
        shown.add_column(name, justify="left" if name == "defense" else "right")
    for one in found:
        caught = f"{one.poison_removed} ({100 * one.poison_removed / max(one.poison, 1):.0f} %)"
        shown.add_row(
            one.defense, caught, f"{one.clean_removed} ({100 * one.clean_removed / one.clean:.1f} %)", one.knows
        )
    console().print(shown)


def _screen(
    dataset: Any,
    choices: list,
    trusted: str,
    export: str | None,
    figure: str | None,
    csv: bool,
    json: bool,
    quiet: bool,
    data_dir: str | None,
) -> None:
    """Print what each defense finds in a data set."""
    from poisoncli.core.errors import PoisonError
    from poisoncli.runs import audit

    if (export or figure) and len(choices) > 1:
        raise PoisonError("--export and --figure are about one defense: give one --defense")
    for choice in choices:
        found = audit.audit(dataset, choice, trusted=trusted, data_dir=data_dir)
        table = found.columns()
        if json:
            rows = {name: column.tolist() for name, column in table.items()}
            named = {"defense": found.defense, "knows": found.knows, "counted": found.counted}
            print(as_json({**named, "rows": rows}))
        elif csv:
            _print_csv(table)
        else:
            _print_table(found, table)
        note(f"the column row counts {found.counted}", quiet or json)
        if export:
            note(f"wrote the rows that {found.defense} keeps to {audit.write_kept(found, export)}", quiet)
            if dataset.options.get("classes"):
                note("rows of other classes were not judged, and are not in it", quiet)
        if figure:
            from poisoncli.reports.defenses import draw_audited

            note(f"drew {draw_audited(found, figure)}", quiet)


def _print_csv(table: dict[str, Any]) -> None:
    import csv
    import sys

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*(column.tolist() for column in table.values()), strict=True))


def _print_table(found: Any, table: dict[str, Any], most: int = 20) -> None:
    """The most suspicious rows; the score is higher for the more suspicious."""

    removed = int((found.weight == 0).sum())
    lighter = int(((found.weight > 0) & (found.weight < 1)).sum())
    less = f", gives {lighter:,} less weight" if lighter else ""
    shown = Grid(
        f"{found.path}: {found.defense} removes {removed:,} of {len(found.y):,} rows{less}; it was told "
        f"{found.knows}\nthe {min(most, len(found.y))} most suspicious rows (--csv prints all)"
    )
    for name in table:
        shown.add_column(name, justify="right")
    for values in list(zip(*(column.tolist() for column in table.values()), strict=True))[:most]:
        shown.add_row(*(f"{value:,.4g}" if isinstance(value, float) else str(value) for value in values))
    console().print(shown)
