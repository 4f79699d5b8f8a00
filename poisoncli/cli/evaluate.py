"""poison evaluate: train the victim and print the table."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from poisoncli.cli.common import as_json, guarded, note, paths, progress, refuse, refuse_both
from poisoncli.cli.grid import Grid, console


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
        typer.Option("--defense", "-d", help="Behind this defense too, or `all`. May be repeated; is not kept."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="With --dataset: the column of the targets.")] = None,
    classes: Annotated[str | None, typer.Option(help="With --dataset: the two classes.")] = None,
    model: Annotated[str, typer.Option(help="With --dataset: the victim.")] = "svm",
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
        typer.Option(help="Exit with status 3 if a mean test error is above this share, such as 0.10."),
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
    if fail_above is not None and not 0 <= fail_above <= 1:
        raise PoisonError(
            f"--fail-above {fail_above} is outside [0, 1]: give a share of the test rows, such as 0.10"
        )
    options = {"lambda_": lambda_, "loss": loss, "passes": passes, "bias": bias}
    differs = any(value not in (None, "") for value in options.values())
    if dataset is not None:
        if runs:
            raise PoisonError("run files bring their own data: leave out --dataset, or the run files")
        names = {"target": target, "classes": classes}
        contents = [_stranger(dataset, names, model, seed, poison, defense, options, data_dir, quiet)]
    elif not runs:
        raise PoisonError(
            "nothing to evaluate: give RUNS, run files of `poison attack`, or --dataset with --poison FILE"
        )
    elif poison:
        raise PoisonError("--poison goes with --dataset: name the data that the poison is added to")
    elif defense or differs:
        contents = [_differently(path, defense, options, data_dir, quiet) for path in paths(runs)]
    else:
        contents = evaluated(paths(runs), data_dir, quiet)
    from poisoncli.reports import measures, summary

    tables = [summary.all_rows(content) for _, content in contents]
    summary.add_decreases([content for _, content in contents], tables)
    if json:
        for (path, content), table in zip(contents, tables, strict=True):
            print(
                as_json(
                    {
                        "run": path,
                        "title": summary.title(content),
                        "label": summary.label(content),
                        "weights": measures.histogram(content),
                        "rows": table,
                    }
                )
            )
    elif csv:
        _print_csv([path for path, _ in contents], tables)
    elif len(contents) == 1:
        _print_one(contents[0][1], [row for row in tables[0] if row["defense"] == "none"])
        if behind := [row for row in tables[0] if row["defense"] != "none"]:
            _print_defended(contents[0][1], behind)
            _print_least(behind, quiet)
    else:
        _print_several([content for _, content in contents], tables)
    worst = max(row["test_error"] for table in tables for row in table)
    if fail_above is not None and worst > fail_above:
        note(f"poison: test error {worst:.3f} is above --fail-above {fail_above:g}", quiet)
        raise typer.Exit(3)


def _stranger(
    dataset: str,
    names: dict[str, str | None],
    model: str,
    seed: int,
    poison: str | None,
    defense: list[str] | None,
    options: dict[str, Any],
    data_dir: str | None,
    quiet: bool,
) -> tuple[str, Any]:
    """A data set with poison of another tool added, judged behind the defenses."""
    from poisoncli.runs import description, replay
    from poisoncli.runs.prepare import restore

    data = description.named("dataset", dataset)
    data = description.Choice(data.name, {**data.options, **{k: v for k, v in names.items() if v is not None}})
    content = replay.with_given_poison(
        data, poison or "", model=model, lambda_=options["lambda_"], seed=seed, data_dir=data_dir
    )
    stray = replay.outside_domain(restore(content, data_dir), content.poison)
    if stray:
        note(f"poison: {stray} of {content.poison.y.size} points are outside the data set's domain", quiet)
    with progress(quiet) as report:
        judged = replay.reevaluate(
            content, _defenses(defense, content.real), **options, data_dir=data_dir, report=report
        )
    return poison or dataset, judged


def _differently(
    path: str, defense: list[str] | None, options: dict[str, Any], data_dir: str | None, quiet: bool
) -> tuple[str, Any]:
    """A run file judged by other defenses or another defender; nothing is kept."""
    import json

    from poisoncli.runs import description, replay, run_file

    content = run_file.read(path)
    chosen = _defenses(defense, content.real)
    if not chosen:
        kept = [json.loads(found.choice) for found in content.defenses.values()]
        chosen = [description.resolve_defense(description.Choice(one.pop("name"), one)) for one in kept]
    with progress(quiet) as report:
        return path, replay.reevaluate(content, chosen, **options, data_dir=data_dir, report=report)


def _defenses(names: list[str] | None, real: bool) -> list[Any]:
    """The defenses named."""
    from poisoncli.runs import description

    return [
        description.resolve_defense(description.Choice(name)) for name in description.defenses(names or [], real)
    ]


def _print_least(behind: list[dict[str, Any]], quiet: bool) -> None:
    """The least test error over the defenses at the largest fraction of poison."""
    most = max(row["poison"] for row in behind)
    least = min((row for row in behind if row["poison"] == most), key=lambda row: row["test_error"])
    note(f"least test error over the defenses: {percent(least)} ({least['defense']})", quiet)


def evaluated(files: list[str], data_dir: str | None, quiet: bool) -> list[tuple[str, Any]]:
    """Paths and contents of run files, each evaluated, and saved where that can be done, else with a warning."""
    from poisoncli.runs import stages

    result = []
    for path in files:
        with progress(quiet) as report:
            result.append((path, stages.evaluate(path, data_dir=data_dir, report=report)))
    return result


def _print_csv(files: list[str], tables: list[list[dict[str, Any]]]) -> None:
    import csv

    flat = [{"run": path, **_flat(row)} for path, table in zip(files, tables, strict=True) for row in table]
    names = list(dict.fromkeys(name for row in flat for name in row))
    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """`row` with lists spread over columns: lambda, or lambda_1, lambda_2, ... for layers."""
    result: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, list) and len(value) > 1:
            result.update({f"{name}_{layer}": item for layer, item in enumerate(value, 1)})
        else:
            result[name] = value[0] if isinstance(value, list) else value
    return result


def _print_one(content: Any, table: list[dict[str, Any]]) -> None:
    from poisoncli.reports import summary

    times = table[0]["repetitions"]
    spread = f"; mean ± standard error of {times} repetitions" if times > 1 else ""
    grid = Grid(f"{summary.title(content)}\n{summary.label(content)}{spread}")
    columns = ["poison", "rows", summary.measure(content), "val loss", "lambda", "log_lambda", "||w||^2/d"]
    selected = table[0].get("selected", [])
    columns += ["target rows hit"] if "target_rate" in table[0] else []
    columns += [f"I_c of {selected[len(selected) // 2]}"] if selected else []
    for name in columns:
        grid.add_column(name, justify="right")
    for row in table:
        penalized = any(value > 0 for value in row["lambda"])
        grid.add_row(
            f"{row['fraction']:.1%}",
            str(row["poison"]),
            percent(row),
            f"{row['val_loss']:.3f}",
            ", ".join(f"{value:.2g}" for value in row["lambda"]) if penalized else "-",
            ", ".join(f"{value:.1f}" for value in row["log_lambda"]) if penalized else "-",
            ", ".join(f"{value:.2g}" for value in row["layer_norm"]),
            *([_share(row["target_rate"])] if "target_rate" in row else []),
            *([f"{row['consistency'][len(selected) // 2]:.2f}"] if selected else []),
        )
    console().print(grid)


def _print_defended(content: Any, table: list[dict[str, Any]]) -> None:
    """What each defense removed, and what that was worth."""
    grid = Grid("Behind a defense")
    grid.add_column("defense")
    for name in (
        "poison",
        table[0]["measure"],
        "gain",
        "rows removed",
        "precision",
        "poison removed",
        "clean removed",
    ):
        grid.add_column(name, justify="right")
    grid.add_column("was told")
    for row in table:
        shares = [_share(row[name]) for name in ("gain", "removed", "precision", "recall", "clean_removed")]
        first = row["poison"] == 0
        grid.add_row(
            row["defense"] if first else "",
            f"{row['fraction']:.1%}",
            percent(row),
            *shares,
            row["knows"] if first else "",
        )
    console().print(grid)


def _share(value: float) -> str:
    return "-" if value != value else f"{100 * value:.1f} %"


def _print_several(contents: list[Any], tables: list[list[dict[str, Any]]]) -> None:
    """Test errors side by side, a column for each run; and what a penalty takes from that without one."""
    from poisoncli.reports import summary

    titles = list(dict.fromkeys(map(summary.title, contents)))
    labels = [summary.label(content) for content in contents]
    bare = [[row for row in table if row["defense"] == "none"] for table in tables]
    _print_columns("Test error\n" + "\n".join(titles), labels, bare, percent)
    compared = [(label, table) for label, table in zip(labels, bare, strict=True) if "decrease" in table[0]]
    if compared:
        labels, bare = (list(part) for part in zip(*compared, strict=True))
        _print_columns("Relative decrease of the test error against no penalty", labels, bare, _decrease)


def _print_columns(
    title: str, labels: list[str], tables: list[list[dict[str, Any]]], cell: Callable[[dict[str, Any]], str]
) -> None:
    """A line for each fraction and a column for each run; fractions that a run lacks are empty."""
    grid = Grid(title)
    grid.add_column("poison", justify="right")
    for label in labels:
        grid.add_column(label, justify="right")
    fractions = sorted({round(row["fraction"], 6) for table in tables for row in table})
    found = [{round(row["fraction"], 6): cell(row) for row in table} for table in tables]
    for fraction in fractions:
        grid.add_row(f"{fraction:.1%}", *(cells.get(fraction, "") for cells in found))
    console().print(grid)


def _decrease(row: dict[str, Any]) -> str:
    error = f" ± {100 * row['decrease_se']:.0f}" if row["repetitions"] > 1 else ""
    return "-" if row["decrease"] != row["decrease"] else f"{100 * row['decrease']:.0f}{error} %"


def percent(row: dict[str, Any]) -> str:
    """Mean test error with its standard error, in percent; an NMSE as it is."""
    if row["measure"] == "test NMSE":
        return f"{row['test_error']:.3f}" + (f" ± {row['test_error_se']:.3f}" if row["repetitions"] > 1 else "")
    error = f" ± {100 * row['test_error_se']:.1f}" if row["repetitions"] > 1 else ""
    draws = f" (orders ± {100 * row['draw_spread']:.1f})" if "draw_spread" in row else ""
    return f"{100 * row['test_error']:.1f}{error} %{draws}"
