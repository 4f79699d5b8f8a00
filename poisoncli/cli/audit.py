"""poison audit: the whole answer for one data set, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from poisoncli.cli import attack_options as opt
from poisoncli.cli import choices
from poisoncli.cli.attack import run_of
from poisoncli.cli.common import as_json, draw, guarded, note, progress
from poisoncli.cli.shared_options import Metric, Plugins, Victims


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("audit")(guarded(audit))


def audit(
    dataset: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help="Your own file or folder of texts, or a data set by its name."),
    ] = None,
    target: opt.Target = None,
    classes: opt.Classes = None,
    column: opt.Column = None,
    ignore: opt.Ignore = None,
    train: opt.Train = None,
    val: opt.Val = None,
    test: opt.Test = None,
    split_column: opt.SplitColumn = None,
    group_column: opt.GroupColumn = None,
    time_column: opt.TimeColumn = None,
    balance: opt.Balance = False,
    n_train: opt.NTrain = None,
    n_val: opt.NVal = None,
    n_test: opt.NTest = None,
    data_dir: opt.DataFolder = None,
    model: opt.Model = None,
    trainer: opt.Trainer = None,
    reg: opt.Reg = None,
    lambda_: opt.Lambda = None,
    learn_lambda: opt.LearnLambda = None,
    per_layer: opt.PerLayer = None,
    victim: Victims = None,
    method: opt.Method = None,
    hypergradient: opt.Hypergradient = None,
    target_rows: opt.TargetRows = None,
    target_label: opt.TargetLabel = None,
    poison_label: opt.PoisonLabel = None,
    fraction: Annotated[
        float | None,
        typer.Option(
            help="Share of the training rows that the attacker controls, at most. Default: 0.1.",
            rich_help_panel=opt.ATTACK,
        ),
    ] = None,
    frozen: opt.Frozen = None,
    only_up: opt.OnlyUp = None,
    only_down: opt.OnlyDown = None,
    columns_changed: opt.ColumnsChanged = None,
    ranges: opt.Ranges = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "-o",
            metavar="NAME=VALUE",
            help="An option of the attack; of others as model.NAME, trainer.NAME, dataset.NAME, victim.NAME.",
            rich_help_panel=opt.ATTACK,
        ),
    ] = None,
    reps: opt.Repetitions = None,
    seed: opt.Seed = None,
    config_file: opt.Config = None,
    defense: Annotated[
        list[str] | None,
        typer.Option("--defense", "-d", help="A defense to try; may be repeated. Default: all that fit."),
    ] = None,
    metric: Metric = "",
    out: Annotated[
        str, typer.Option(help="Folder of the run files and the figure.", rich_help_panel=opt.OUTPUT)
    ] = "audit",
    force: Annotated[
        bool,
        typer.Option("--force", help="Start anew where the folder holds run files.", rich_help_panel=opt.OUTPUT),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.", rich_help_panel=opt.OUTPUT)
    ] = False,
    quiet: opt.Quiet = False,
    plugin: Plugins = None,
    debug: opt.Debug = False,
) -> None:
    """How much damage can an attacker do to your model on these data, and what helps?

    Crafts poison, beside it random label flips of the same number, and where you have no penalty the same attack on
    a learned one; trains the model, and your own ones (--victim), without a defense and behind each. Prints two
    tables and the answer in a sentence, and draws them. The run files stay in the folder, for the other verbs; the
    same command goes on after an interruption.
    """
    asked = dict(locals())
    from poisoncli.core.errors import PoisonError
    from poisoncli.reports import audit as page
    from poisoncli.runs import audit as runs

    if not (dataset or train or config_file):
        raise PoisonError("nothing to audit: give DATA, your own file or the name of a data set")
    if Path(out).is_file():
        raise PoisonError(f"{out} is a file: name a folder with --out")
    victims, asked["options"] = choices.victims(victim or [], options or [])
    run = run_of(asked)
    with progress(quiet) as report:
        found = runs.audit(
            run, out, defenses=defense or ["all"], outside=victims, data_dir=data_dir, force=force, report=report
        )
    for name, why in found.failed.items():
        note(f"poison: {name} is left out: {why}", quiet)
    picture = page.draw(found, Path(out) / "audit.png", metric=metric)
    if json:
        print(as_json(_whole(found, metric)))
        return
    for table in page.tables(found, metric):
        draw(table)
    for sentence in page.says(found, metric):
        print(sentence[0].upper() + sentence[1:] + ".")
    note(f"drew {picture}; the run files beside it are for `poison evaluate`, `report` and `export`", quiet)


def _whole(found: Any, metric: str) -> dict[str, Any]:
    """All that the page shows."""
    from poisoncli.reports import audit as page

    return {
        "says": page.says(found, metric),
        "damage": page.damage(found, metric),
        "helps": page.helps(found, metric),
        "failed": found.failed,
    }
