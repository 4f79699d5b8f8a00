"""poison sweep: many runs, one command."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from poisoncli.cli.common import Plugins, guarded, note, progress

# what `_summary` says
_SUMMARIZED = {
    *("dataset.name", "model.name", "attack.name", "fraction", "repetitions"),
    *("reg", "lambda", "clean_lambda", "learn_lambda", "per_layer"),
}


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("sweep")(guarded(sweep))


def sweep(
    preset: Annotated[
        str | None, typer.Option(help="A figure or table of the papers, such as hlp-fig2; `list` lists them.")
    ] = None,
    config_file: Annotated[
        str | None, typer.Option("--config", metavar="FILE.toml", help="A sweep of your own.")
    ] = None,
    out: Annotated[
        str | None, typer.Option(help="The folder for the run files. Default: the preset's name.")
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            metavar="NAME=VALUES",
            help="Every run once for each of these values, such as trainer.rate=0.01,0.1 or seed=0:10 (0 to 9); "
            "fields of a run by the names of `poison attack`, options as METHOD.NAME. May be repeated: all "
            "combinations. Alone, it is over the defaults of `poison attack`.",
        ),
    ] = None,
    reps: Annotated[int | None, typer.Option(help="Repetitions of every run, instead of the preset's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every run, instead of the preset's.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs, and do nothing.")] = False,
    data_dir: Annotated[str | None, typer.Option(help="Folder of the data sets' files.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no remarks.")] = False,
    plugin: Plugins = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Run a grid: craft and evaluate every run of a preset, or of your own TOML file.

    Finished runs are skipped and an interrupted sweep goes on where it stopped: just repeat the command. A run file
    is named LABEL.HASH.h5: other options or other data make another, so the folder of a grid can grow. At the end
    all numbers stand in sweep.csv (and sweep.parquet, where pyarrow is at hand), a row each.
    """
    from pathlib import Path

    from poisoncli.sweeps import expand, long_table
    from poisoncli.sweeps import plan as plans
    from poisoncli.sweeps.drive import execute
    from poisoncli.sweeps.grid import differences

    if preset == "list":
        for name in plans.presets():
            print(f"{name:16} {plans.preset(name).title}")
        return
    plan, name = _plan(preset, config_file, expand.words(grid or ()), {"repetitions": reps, "seed": seed})
    if dry_run:
        for cell, own in zip(plan.cells, differences(plan.cells), strict=True):
            told = "".join(f"; {name}={value}" for name, value in own.items() if name not in _SUMMARIZED)
            print(f"{cell.name}: {_summary(cell.run)}{told}")
        return
    folder = out or name

    def finished(outcome: Any) -> None:
        reason = f": {outcome.reason}" if outcome.reason else ""
        print(f"{plans.run_path(outcome.cell, Path(folder))} {outcome.status}{reason}", flush=True)

    with progress(quiet) as report:
        outcomes = execute(plan, folder, data_dir=data_dir, report=report, finished=finished)
    if any(outcome.status == "done" or not outcome.reason for outcome in outcomes):
        written = long_table.keep(Path(folder))
        note(f"all numbers: {' and '.join(map(str, written))}", quiet)
    note(f"next: poison report {folder}", quiet)
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _plan(
    preset: str | None, config_file: str | None, grid: dict[str, str], changes: dict[str, Any]
) -> tuple[Any, str]:
    """The sweep, and a name for its folder."""
    from pathlib import Path

    from poisoncli.core.errors import PoisonError
    from poisoncli.sweeps import plan as plans

    given = preset is not None, config_file is not None
    if all(given) or not (any(given) or grid):
        raise PoisonError(
            "give either --preset NAME (see `poison sweep --preset list`) or --config FILE.toml, or --grid NAME=..."
        )
    fields = {name: value for name, value in changes.items() if value is not None}
    if both := set(fields) & set(grid):
        flag = {"repetitions": "reps"}.get(min(both), min(both))
        raise PoisonError(f"--{flag} and --grid {min(both)} contradict each other: give one of them")
    if not any(given):
        return plans.changed(plans.of_grid(grid), fields), "sweep"
    plan = plans.preset(preset) if preset else plans.load(config_file)  # type: ignore[arg-type]
    return plans.changed(plan, fields, grid), preset or Path(str(config_file)).stem


def _summary(run: Any) -> str:
    """A run in a line."""
    from poisoncli.reports.summary import in_words

    return (
        f"{run.dataset.name}, {run.model.name}, {in_words(run)}; {run.attack.name}, {run.fraction:.0%} poison, "
        f"{run.repetitions} repetition{'s' if run.repetitions > 1 else ''}"
    )
