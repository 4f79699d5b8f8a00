"""poison evaluate: train the victim and print the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from poisoncli.cli import choices, thresholds
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
from poisoncli.cli.shared_options import (
    Classes,
    Column,
    DataDir,
    Debug,
    Devices,
    Ignore,
    Metric,
    Plugins,
    Quiet,
    Target,
    Victims,
)

if TYPE_CHECKING:
    from poisoncli.runs.description import Choice
    from poisoncli.runs.run_file import RunFile
    from poisoncli.training.own_models import Victim


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
            "-o", metavar="NAME=VALUE", help="An option of these defenses, of one as DEFENSE.NAME; victim.NAME."
        ),
    ] = None,
    victim: Victims = None,
    target: Target = None,
    classes: Classes = None,
    column: Column = None,
    ignore: Ignore = None,
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
            help="Exit with status 3 if the mean test error, or --metric, is above this, such as 0.10: at any "
            "fraction of poison, and behind any defense, where --at and --defense do not say which."
        ),
    ] = None,
    fail_below: Annotated[
        float | None,
        typer.Option(help="As --fail-above, for metrics that fall where things get worse: recall, auc, r2."),
    ] = None,
    metric: Metric = "",
    at: Annotated[
        float | None,
        typer.Option(
            metavar="FRACTION",
            help="For --fail-above, --fail-below: the share of poison; the nearest stage is taken, and said.",
        ),
    ] = None,
    confusion: Annotated[
        bool,
        typer.Option(
            "--confusion",
            help="Show as which class the test rows of each come out, and its error, without poison and with most.",
        ),
    ] = False,
    data_dir: DataDir = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a run.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print one CSV table.")] = False,
    quiet: Quiet = False,
    plugin: Plugins = None,
    devices: Devices = None,
    debug: Debug = False,
) -> None:
    """Train the victim at every fraction of poison, and behind every defense in the file, and print its test error.

    Several run files stand side by side. The result is kept in the run file. With --victim models of your own are
    trained on the same rows, beside the model that the poison was made for; thresholds then speak of them.
    """
    from poisoncli.core.errors import PoisonError

    refuse_both(context, "csv", "json")
    if dataset is None and runs:
        refuse(
            context,
            ("target", "classes", "column", "ignore", "model", "seed"),
            "a run file brings its own data and victim",
        )
    refuse_both(context, "fail_above", "fail_below")
    thresholds.check(fail_above, fail_below, at)
    victims, options = choices.victims(victim or [], option or [])
    named = defense or []
    tried = [name for name in named if name != "none"]
    changes = {"lambda_": lambda_, "loss": loss, "passes": passes, "bias": bias}
    if dataset is not None:
        if runs:
            raise PoisonError("run files bring their own data: leave out --dataset, or the run files")
        data = choices.dataset(dataset, target, classes, column, ignore)
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
        contents = evaluated(paths(runs), data_dir, quiet, metric)
    from poisoncli.reports import summary, transfer

    if victims:
        kept = dataset is None and not (tried or options or any(one not in (None, "") for one in changes.values()))
        contents = [
            (path, _with_victims(path, content, victims, kept, data_dir, quiet)) for path, content in contents
        ]
    tables = [summary.all_rows(content, metric) for _, content in contents]
    summary.add_decreases([content for _, content in contents], tables)
    others = [transfer.rows(content, metric) for _, content in contents]
    confused = [_confusions(content, data_dir) if confusion else {} for _, content in contents]
    _print(contents, tables, others, confused, json, csv, quiet)
    if fail_above is not None or fail_below is not None:
        thresholds.judge(others if victims else tables, fail_above, fail_below, at, named, quiet)
    if victims:
        from poisoncli.runs.victims import failed

        if any(failed(content, victims) for _, content in contents):
            raise typer.Exit(1)


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
    from poisoncli.runs import plugins, replay, run_file, serialize

    content = run_file.read(path)
    wanted = names or list(content.defenses)
    for name in {*wanted} & {*content.defenses}:
        plugins.require({"defense": name}, content.plugins)
    kept = {
        name: serialize.choice_from_json(found.choice)
        for name, found in content.defenses.items()
        if plugins.is_here("defense", name)
    }
    judges = choices.defenses(wanted, options, content.real, kept)
    with progress(quiet) as report:
        return path, replay.reevaluate(content, judges, **changes, data_dir=data_dir, report=report)


def _with_victims(
    path: str, content: RunFile, victims: list[Victim], kept: bool, data_dir: str | None, quiet: bool
) -> RunFile:
    """A run file with victims from outside measured, and kept there; says where the surrogate is unlike them."""
    from poisoncli.runs import stand_in
    from poisoncli.runs import victims as outside

    with progress(quiet) as report:
        if kept:
            content = outside.add(path, victims, content=content, data_dir=data_dir, report=report)
        else:
            content = outside.measure(content, victims, data_dir=data_dir, report=report)
    for remark in stand_in.check(content, data_dir):
        note(f"poison: {remark}", quiet)
    return content


def _confusions(content: RunFile, data_dir: str | None) -> dict[str, Any]:
    """Behind each defense that was evaluated, `none` without one, what `stage_scores.confusion` gives."""
    from poisoncli.core.errors import PoisonError
    from poisoncli.runs import stage_scores
    from poisoncli.runs.prepare import restore

    if content.real:
        raise PoisonError("--confusion is about classes, and the targets are real: leave it out")
    prepared = restore(content, data_dir)
    return {name: stage_scores.confusion(prepared, one.params) for name, one in content.evaluations.items()}


def _print(
    contents: list[tuple[str, RunFile]],
    tables: list[list[dict[str, Any]]],
    others: list[list[dict[str, Any]]],
    confused: list[dict[str, Any]],
    json: bool,
    csv: bool,
    quiet: bool,
) -> None:
    """The result, in the form that was asked for.

    others: the rows of victims from outside; confused: see `_confusions`.
    """
    from poisoncli.reports import measures, summary, transfer
    from poisoncli.reports import tables as shown

    if json:
        for (path, content), table, more, shares in zip(contents, tables, others, confused, strict=True):
            about = {"run": path, "title": summary.title(content), "label": summary.label(content)}
            found: dict[str, Any] = {"victims": more} if more else {}
            if shares:
                means = {name: one.mean(axis=0).tolist() for name, one in shares.items()}
                found["confusion"] = {"classes": content.classes, "stages": means}
            print(as_json({**about, "weights": measures.histogram(content), "rows": table, **found}))
    elif csv:
        pairs = [
            (path, row)
            for (path, _), *both in zip(contents, tables, others, strict=True)
            for part in both
            for row in part
        ]
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
    if not (json or csv):
        for (_, content), table, more, shares in zip(contents, tables, others, confused, strict=True):
            if more:
                draw(transfer.table(content, table, more))
            for one in (one for name, found in shares.items() for one in shown.confusion(content, found, name)):
                draw(one)
