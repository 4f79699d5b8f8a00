"""poison sweep: many runs, one command."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poisoncli.cli.common import as_json, guarded, note, progress, refuse
from poisoncli.cli.shared_options import DataDir, Debug, Devices, Plugins, Quiet

if TYPE_CHECKING:
    from poisoncli.sweeps.plan import Sweep
    from poisoncli.sweeps.units import Outcome

# what `_summary` says
_SUMMARIZED = {
    *("dataset.name", "model.name", "attack.name", "fraction", "repetitions"),
    *("reg", "lambda", "clean_lambda", "learn_lambda", "per_layer"),
}
_NAMING = ("preset", "config_file", "out", "grid", "reps", "seed", "dry_run")  # what begins a sweep
_RUNNING = ("workers", "scheduler", "slurm", "gpu", "retry_failed", "fail_fast")

_Folder = Annotated[
    str | None, typer.Argument(metavar="[DIR]", help="The folder of a sweep, for --join and --status.")
]
_Preset = Annotated[
    str | None, typer.Option(help="A figure or table of the papers, such as hlp-fig2; `list` lists them.")
]
_Config = Annotated[str | None, typer.Option("--config", metavar="FILE.toml", help="A sweep of your own.")]
_Out = Annotated[str | None, typer.Option(help="The folder for the run files. Default: the preset's name.")]
_Grid = Annotated[
    list[str] | None,
    typer.Option(
        "--grid",
        metavar="NAME=VALUES",
        help="Every run once for each of these values, such as trainer.rate=0.01,0.1 or seed=0:10 (0 to 9); fields "
        "of a run by the names of `poison attack`, options as METHOD.NAME. May be repeated: all combinations. "
        "Alone, it is over the defaults of `poison attack`.",
    ),
]
_Reps = Annotated[int | None, typer.Option(help="Repetitions of every run, instead of the preset's.")]
_Seed = Annotated[int | None, typer.Option(help="Seed of every run, instead of the preset's.")]
_Workers = Annotated[
    int, typer.Option(min=0, max=1024, help="Run in so many processes, which share the cores. 0: in this one.")
]
_Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS|FILE", help="Run on the workers of this Dask scheduler, such as tcp://HOST:8786."
    ),
]
_Slurm = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE,...",
        help="Run as jobs of Slurm, such as partition=gpu,timeout_min=60; at the time limit they are requeued and "
        "go on. cluster=local: as processes here.",
    ),
]
_Gpu = Annotated[
    bool, typer.Option("--gpu", help="With --scheduler or --slurm: one GPU for each run that is under way.")
]
_Join = Annotated[
    bool, typer.Option("--join", help="Help with the sweep in DIR, from this or any host that has the folder.")
]
_Status = Annotated[
    bool, typer.Option("--status", help="Tell of each run in DIR whether it is done, running, failed, waiting.")
]
_Json = Annotated[bool, typer.Option("--json", help="The status as JSON.")]
_RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try runs again that have failed.")]
_FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first run that fails.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="List the runs, with rough estimates of time and memory.")]


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("sweep")(guarded(sweep))


def sweep(
    context: typer.Context,
    folder: _Folder = None,
    preset: _Preset = None,
    config_file: _Config = None,
    out: _Out = None,
    grid: _Grid = None,
    reps: _Reps = None,
    seed: _Seed = None,
    workers: _Workers = 0,
    scheduler: _Scheduler = None,
    slurm: _Slurm = None,
    gpu: _Gpu = False,
    join: _Join = False,
    status: _Status = False,
    json_: _Json = False,
    retry_failed: _RetryFailed = False,
    fail_fast: _FailFast = False,
    devices: Devices = None,
    dry_run: _DryRun = False,
    data_dir: DataDir = None,
    quiet: Quiet = False,
    plugin: Plugins = None,
    debug: Debug = False,
) -> None:
    """Run a grid: craft and evaluate every run of a preset, or of your own TOML file.

    Finished runs are skipped and an interrupted sweep goes on where it stopped: just repeat the command. Any number
    of commands on any hosts may work on one folder (DIR --join): each run is crafted by one of them. A run file is
    named LABEL.HASH.h5: other options or other data make another, so the folder of a grid can grow. At the end all
    numbers stand in sweep.csv (and sweep.parquet, where pyarrow is at hand), a row each.
    """
    if preset == "list":
        _list_presets()
        return
    _check(context, folder, join, status)
    if status:
        _status(str(folder), json_)
        return
    begun, place = _begun(folder, preset, config_file, grid or (), {"repetitions": reps, "seed": seed})
    if dry_run:
        _list(begun, quiet)
        return
    _run(
        begun,
        out or place,
        quiet,
        data_dir=data_dir,
        plugin_files=plugin or (),
        workers=workers,
        scheduler=scheduler or "",
        slurm=slurm or (),
        gpu=gpu,
        retry_failed=retry_failed,
        fail_fast=fail_fast,
    )


def _check(context: typer.Context, folder: str | None, join: bool, status: bool) -> None:
    """Raise `PoisonError` for options that contradict each other, or would be ignored."""
    from poisoncli.core.errors import PoisonError

    if (folder is not None) != (join or status) or (join and status):
        raise PoisonError("give DIR with either --join or --status, or a sweep to begin with --preset or --config")
    if folder is not None:
        refuse(context, _NAMING, "the folder holds its sweep")
    if status:
        refuse(context, _RUNNING, "--status runs nothing")
        return
    refuse(context, ["json_"], "it is for --status")
    places = [context.params[name] for name in ("workers", "scheduler", "slurm")]
    if sum(map(bool, places)) > 1:
        raise PoisonError("--workers, --scheduler and --slurm each say where the runs go: give one of them")
    if not any(places[1:]):
        refuse(context, ["gpu"], "it is for --scheduler and --slurm; runs here take the GPUs that there are")


def _run(begun: Sweep, place: str, quiet: bool, **options: Any) -> None:
    """Run a sweep, a line for each run that ends; exit with status 1 where some failed. options: of `execute`."""
    from poisoncli.sweeps import drive, plan

    def finished(outcome: Outcome) -> None:
        reason = f": {outcome.reason}" if outcome.reason else ""
        print(f"{plan.run_path(outcome.cell, Path(place))} {outcome.status}{reason}", flush=True)

    with progress(quiet) as report:
        outcomes = drive.execute(begun, place, report=report, finished=finished, **options)
    left = len(begun.cells) - len(outcomes)
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    if left:
        note(f"{left} runs are left: --fail-fast stopped at the first failure", quiet)
    elif failed:
        note(f"{failed} runs failed: --retry-failed tries them again", quiet)
    note(f"next: poison report {place}", quiet)
    if failed:
        raise typer.Exit(1)


def _list_presets() -> None:
    """Print the names of the presets, and what each shows."""
    from poisoncli.sweeps import plan

    for name in plan.presets():
        print(f"{name:16} {plan.preset(name).title}")


def _status(folder: str, as_text: bool) -> None:
    """Print how far the sweep in a folder is."""
    from poisoncli.sweeps import status

    found = status.of_folder(folder)
    counts = status.counts(found)
    if as_text:
        print(as_json({"counts": counts, "cells": [dataclasses.asdict(one) for one in found]}))
        return
    for one in found:
        print(f"{one.file} {one}")
    print(", ".join(f"{number} {name}" for name, number in counts.items()))


def _list(begun: Sweep, quiet: bool) -> None:
    """Print the runs of a sweep, in what they differ, and what each will take."""
    from poisoncli.sweeps import estimate
    from poisoncli.sweeps.grid import differences

    found = [estimate.estimate(cell.run) for cell in begun.cells]
    note(estimate.total(found), quiet)
    for cell, own, taken in zip(begun.cells, differences(begun.cells), found, strict=True):
        told = "".join(f"; {name}={value}" for name, value in own.items() if name not in _SUMMARIZED)
        print(f"{cell.name}: {_summary(cell.run)}{told}; {taken}")


def _begun(
    folder: str | None,
    preset: str | None,
    config_file: str | None,
    grid: Iterable[str],
    changes: dict[str, Any],
) -> tuple[Sweep, str]:
    """The sweep, and its folder or a name for that."""
    from poisoncli.core.errors import PoisonError
    from poisoncli.sweeps import expand, plan

    if folder is not None:
        return plan.load(plan.plan_of(folder)), folder
    axes, given = expand.words(tuple(grid)), (preset is not None, config_file is not None)
    if all(given) or not (any(given) or axes):
        raise PoisonError(
            "give either --preset NAME (see `poison sweep --preset list`) or --config FILE.toml, or --grid NAME=..."
        )
    fields = {name: value for name, value in changes.items() if value is not None}
    if both := set(fields) & set(axes):
        flag = {"repetitions": "reps"}.get(min(both), min(both))
        raise PoisonError(f"--{flag} and --grid {min(both)} contradict each other: give one of them")
    if not any(given):
        return plan.changed(plan.of_grid(axes), fields), "sweep"
    begun = plan.preset(preset) if preset else plan.load(str(config_file))
    return plan.changed(begun, fields, axes), preset or Path(str(config_file)).stem


def _summary(run: Any) -> str:
    """A run in a line."""
    from poisoncli.reports.summary import in_words

    return (
        f"{run.dataset.name}, {run.model.name}, {in_words(run)}; {run.attack.name}, {run.fraction:.0%} poison, "
        f"{run.repetitions} repetition{'s' if run.repetitions > 1 else ''}"
    )
