"""poison evaluate: train the victim and print the table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poisoncli.cli import choices
from poisoncli.cli.common import (
    as_json,
    draw,
    evaluated,
    guarded,
    note,
    paths,
    print_csv,
    progress,
    refuse,
    refuse_both,
)

if TYPE_CHECKING:
    from poisoncli.runs.description import Choice
    from poisoncli.runs.run_file import RunFile


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("evaluate")(guarded(evaluate))


def evaluate(
    context: typer.Context,
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Run files of `poison attack`; - reads their paths from stdin. None with --dataset."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Judge this data set, or your own file, with the poison of --poison.")
    ] = None,
    poison: Annotated[
        str | None,
        typer.Option(help="Poison of another tool to add: .npz, .mat, .csv or .h5. Default: none."),
    ] = None,
    defense: Annotated[
        list[str] | None,
        typer.Option(
            "--defense",
            "-d",
            help="Behind this defense too, or `all`, with the options that the run file keeps; may be repeated, is "
            "not kept. --fail-above then speaks of it; `none` is the victim without one.",
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "-o", metavar="NAME=VALUE", help="An option of these defenses; of one among several as DEFENSE.NAME."
        ),
    ] = None,
    target: Annotated[str | None, typer.Option(help="With --dataset: the column of the targets.")] = None,
    classes: Annotated[str | None, typer.Option(help="With --dataset: the two classes.")] = None,
    model: Annotated[
        str,
        typer.Option(help="With --dataset: the victim. Default: svm, multisvm or linear, what fits the targets."),
    ] = "",
    bias: Annotated[
        str,
        typer.Option(help="The defender's svm has a free or a penalized bias, where it differs; default: free."),
    ] = "",
    lambda_: Annotated[
        float | None,
        typer.Option("--lambda", help="The defender's penalty, where it differs from the attacker's."),
    ] = None,
    loss: Annotated[str, typer.Option(help="The defender's loss, hinge or logistic, where it differs.")] = "",
    passes: Annotated[
        int | None, typer.Option(help="The defender's passes of gradient descent; 0 means the optimum.")
    ] = None,
    seed: Annotated[int, typer.Option(help="With --dataset: of the split.")] = 0,
    fail_above: Annotated[
        float | None,
        typer.Option(
            help="Exit with status 3 if the mean test error is above this share, such as 0.10: at any fraction of "
            "poison, and behind any defense, where --at and --defense do not say which."
        ),
    ] = None,
    at: Annotated[
        float | None,
        typer.Option(
            metavar="FRACTION", help="For --fail-above: the share of poison; the nearest stage is taken, and said."
        ),
    ] = None,
    data_dir: Annotated[str | None, typer.Option(help="Folder of the data sets' files.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a run.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print one CSV table.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no remarks.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Train the victim at every fraction of poison, and behind every defense in the file, and print its test error.

    Several run files stand side by side. The result is kept in the run file.
    """
    from poisoncli.core.errors import PoisonError

    refuse_both(context, "csv", "json")
    if dataset is None and runs:
        refuse(context, ("target", "classes", "model", "seed"), "a run file brings its own data and victim")
    if at is not None and not 0 <= at <= 1:
        raise PoisonError(f"--at {at} is outside [0, 1]: give a share, such as 0.10")
    if fail_above is not None and not 0 <= fail_above < math.inf:
        raise PoisonError(f"--fail-above {fail_above} is no error: give a share such as 0.10, or an NMSE")
    if at is not None and fail_above is None:
        raise PoisonError("--at says which share of poison --fail-above is about: add --fail-above, such as 0.10")
    named, options = defense or [], option or []
    tried = [name for name in named if name != "none"]
    changes = {"lambda_": lambda_, "loss": loss, "passes": passes, "bias": bias}
    if dataset is not None:
        if runs:
            raise PoisonError("run files bring their own data: leave out --dataset, or the run files")
        data = choices.dataset(dataset, target, classes)
        contents = [_given(data, poison, model, seed, tried, options, changes, data_dir, quiet)]
    elif not runs:
        raise PoisonError(
            "nothing to evaluate: give RUNS, run files of `poison attack`, or --dataset with --poison FILE"
        )
    elif poison:
        raise PoisonError("--poison goes with --dataset: name the data that the poison is added to")
    elif tried or options or any(value not in (None, "") for value in changes.values()):
        contents = [_differently(path, tried, options, changes, data_dir, quiet) for path in paths(runs)]
    else:
        contents = evaluated(paths(runs), data_dir, quiet)
    from poisoncli.reports import summary

    tables = [summary.all_rows(content) for _, content in contents]
    summary.add_decreases([content for _, content in contents], tables)
    _print(contents, tables, json, csv, quiet)
    if fail_above is not None:
        _check(tables, fail_above, at, named, quiet)


def _given(
    data: Choice,
    poison: str | None,
    model: str,
    seed: int,
    names: list[str],
    options: list[str],
    changes: dict[str, Any],
    data_dir: str | None,
    quiet: bool,
) -> tuple[str, RunFile]:
    """A data set with poison of another tool added, judged behind the defenses."""
    from poisoncli.runs import replay
    from poisoncli.runs.prepare import restore

    content = replay.with_given_poison(
        data, poison or "", model=model, lambda_=changes["lambda_"], seed=seed, data_dir=data_dir
    )
    stray = replay.outside_domain(restore(content, data_dir), content.poison)
    if stray:
        note(f"poison: {stray} of {content.poison.y.size} points are outside the data set's domain", quiet)
    wanted = choices.defenses(names, options, content.real)
    with progress(quiet) as report:
        judged = replay.reevaluate(content, wanted, **changes, data_dir=data_dir, report=report)
    return poison or data.options.get("path", data.name), judged


def _differently(
    path: str,
    names: list[str],
    options: list[str],
    changes: dict[str, Any],
    data_dir: str | None,
    quiet: bool,
) -> tuple[str, RunFile]:
    """A run file judged by other defenses or another defender; nothing is kept."""
    from poisoncli.runs import description, replay, run_file

    content = run_file.read(path)
    kept = {name: description.choice_from_json(found.choice) for name, found in content.defenses.items()}
    wanted = choices.defenses(names or list(kept), options, content.real, kept)
    with progress(quiet) as report:
        return path, replay.reevaluate(content, wanted, **changes, data_dir=data_dir, report=report)


def _print(
    contents: list[tuple[str, RunFile]], tables: list[list[dict[str, Any]]], json: bool, csv: bool, quiet: bool
) -> None:
    """The result, in the form that was asked for."""
    from poisoncli.reports import measures, summary
    from poisoncli.reports import tables as shown

    if json:
        for (path, content), table in zip(contents, tables, strict=True):
            about = {"run": path, "title": summary.title(content), "label": summary.label(content)}
            print(as_json({**about, "weights": measures.histogram(content), "rows": table}))
    elif csv:
        pairs = [(path, row) for (path, _), table in zip(contents, tables, strict=True) for row in table]
        flat = [{"run": path, **shown.flat(row)} for path, row in pairs]
        print_csv(dict.fromkeys(name for row in flat for name in row), flat)
    elif len(contents) == 1:
        draw(shown.stages(contents[0][1], [row for row in tables[0] if row["defense"] == "none"]))
        if behind := [row for row in tables[0] if row["defense"] != "none"]:
            draw(shown.defended(behind))
            note(shown.least(behind), quiet)
    else:
        for table in shown.side_by_side([content for _, content in contents], tables):
            draw(table)


def _check(
    tables: list[list[dict[str, Any]]], limit: float, at: float | None, names: list[str], quiet: bool
) -> None:
    """Exit with 3 where the test error passes the limit, at the stages and behind the defenses asked about."""
    from poisoncli.core.errors import PoisonError
    from poisoncli.reports import summary

    rows = [row for table in tables for row in summary.spoken_of(table, at, names)]
    shares = [row for row in rows if row["measure"] != "test NMSE"]
    if limit > 1 and shares:
        raise PoisonError(f"--fail-above {limit:g} is above every share of wrong rows: give one in [0, 1]")
    worst = max(rows, key=lambda row: math.inf if math.isnan(row["test_error"]) else row["test_error"])
    behind = "without a defense" if worst["defense"] == "none" else f"behind {worst['defense']}"
    where = f"with {worst['fraction']:.1%} poison, {behind}"
    if at is not None:
        taken = ", ".join(dict.fromkeys(f"{row['fraction']:.1%}" for row in rows))
        note(f"--fail-above looks at {taken} poison, the stage nearest to --at {at:g}", quiet)
    if not worst["test_error"] <= limit:  # what is not a number is no pass
        note(
            f"poison: {worst['measure']} {worst['test_error']:.3f} is above --fail-above {limit:g} ({where})", quiet
        )
        raise typer.Exit(3)
