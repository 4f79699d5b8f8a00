"""poison defend: let defenses weigh the training rows."""

from __future__ import annotations

from typing import Annotated

import typer

from poisoncli.cli.common import as_json, guarded, note, paths, progress


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("defend")(guarded(defend))


def defend(
    runs: Annotated[
        list[str], typer.Argument(help="Run files of `poison attack`; - reads their paths from stdin.")
    ],
    defense: Annotated[
        list[str] | None,
        typer.Option("--defense", "-d", help="A defense, or all. May be repeated."),
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
    force: Annotated[bool, typer.Option("--force", help="Replace an existing export.")] = False,
    data_dir: Annotated[str | None, typer.Option(help="Folder of the data sets' files.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a run.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no remarks.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Let defenses weigh the training rows at every fraction of poison, and keep the weights in the run file.

    `poison evaluate` then trains the victim behind each defense. Prints the run files' paths.
    """
    from poisoncli import exports, run
    from poisoncli.core.types import PoisonError

    choices, files = chosen(defense or [], options or []), paths(runs)
    if export and (len(choices) > 1 or len(files) > 1):
        raise PoisonError("--export writes one table: give one run file and one --defense")
    if export:
        exports.check_free(exports.Path(export), force)
    for path in files:
        contents = []
        for choice in choices:
            with progress(quiet) as report:
                contents.append(run.defend(path, choice, data_dir=data_dir, report=report))
        if export:
            place = {"fraction": fraction, "repetition": repetition, "data_dir": data_dir}
            exports.export(contents[-1], export, defense=choices[0].name, **place)
            note(f"wrote the rows that {choices[0].name} keeps to {export}", quiet)
        names = [choice.name for choice in choices]
        print(as_json({"run": path, "defenses": names}) if json else path)
        note(f"next: poison evaluate {path}", quiet or json)


def chosen(names: list[str], options: list[str]) -> list:
    """The defenses that `--defense` and `-o` name. Raises `PoisonError` if an option belongs to none of them."""
    from poisoncli import config
    from poisoncli.core.types import PoisonError
    from poisoncli.defenses import DEFENSES

    if not names:
        raise PoisonError(f"name a defense with --defense: {', '.join(DEFENSES)}, or all")
    wanted = list(DEFENSES) if "all" in names else list(dict.fromkeys(names))
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
    return [config.resolve_defense(config.Choice(name, fields)) for name, fields in given.items()]
