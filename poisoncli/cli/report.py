"""poison report: draw figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from poisoncli.cli.common import guarded, note, paths, refuse
from poisoncli.cli.shared_options import DataDir, Debug, Metric, Plugins, Quiet


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("report")(guarded(report))


def report(
    context: typer.Context,
    runs: Annotated[
        list[str], typer.Argument(help="Run files, or the folder of a sweep; - reads paths from stdin.")
    ],
    out: Annotated[
        str | None,
        typer.Option(
            "--out", "-o", help="The figure: .png, .pdf or .svg. Default: the first run's name with .png."
        ),
    ] = None,
    draw: Annotated[
        str | None,
        typer.Option(
            help="What to draw, with commas between: test_error, val_loss, log_lambda, norm, layer_norm, "
            "consistency, decrease, histogram, position (of one point in the plane); of searches time, defenses; "
            "A+B shares a panel. Default: test error and lambda."
        ),
    ] = None,
    metric: Metric = "",
    table: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Of a sweep's folder write all numbers too, as one long table: .csv or .parquet.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing figure.")] = False,
    data_dir: DataDir = None,
    quiet: Quiet = False,
    plugin: Plugins = None,
    debug: Debug = False,
) -> None:
    """Draw test error and lambda against the fraction of poison, a line for each run file; or a whole sweep.

    --draw chooses other quantities: how the weights change (consistency, histogram, norm), what a penalty is worth
    against the run without one (decrease). --metric draws another measure in the place of the test error.

    A single run with defenses shows the gain of each, the area of negative gain shaded; one with victims of your
    own shows them beside the model that the poison was made for.
    Of a grid (`poison sweep --grid`) the last axis with several values makes the lines and the others the panels;
    runs that differ in their seed alone count as repetitions of one.
    Bands show one standard error over the repetitions. Runs that were not evaluated yet are evaluated first.
    """
    from poisoncli.cli.common import evaluated
    from poisoncli.reports.figures import check_format, figure
    from poisoncli.runs.export import new_file
    from poisoncli.sweeps import long_table

    files = paths(runs)
    if len(files) == 1 and Path(files[0]).is_dir():
        path = Path(out) if out else Path(files[0]) / "figure.png"
        context.with_resource(new_file(path, force))
        if table:
            context.with_resource(new_file(Path(table), force))
            print(long_table.write(long_table.table(files[0]), Path(table)))
        for drawn in _draw_sweep(context, files[0], path, draw, data_dir, metric, force):
            print(drawn)
        return
    if table:
        refuse(context, ["table"], "it is about the folder of a sweep; of run files, `poison evaluate --csv`")
    path = Path(out) if out else Path(files[0]).with_suffix(".png")
    check_format(path)
    context.with_resource(new_file(path, force))
    contents = [content for _, content in evaluated(files, data_dir, quiet, metric)]
    if len(contents) == 1 and contents[0].victims and not draw:
        from poisoncli.reports import transfer

        print(transfer.draw(contents[0], path, metric=metric))
    elif len(contents) == 1 and contents[0].defenses and not draw:
        from poisoncli.reports.defenses import draw_defended

        print(draw_defended(contents[0], path, data_dir, metric=metric))
    else:
        print(figure(contents, path, draw.split(",") if draw else (), data_dir, metric=metric))
    note(f"drew {len(contents)} run{'s' if len(contents) > 1 else ''}", quiet)


def _draw_sweep(
    context: typer.Context,
    folder: str,
    path: Path,
    draw: str | None,
    data_dir: str | None,
    metric: str,
    force: bool,
) -> Iterator[Path]:
    """The figure of a sweep; where that shows no defenses, beside it a figure for each run that has some."""
    import dataclasses

    from poisoncli.core.errors import PoisonError
    from poisoncli.reports import figures
    from poisoncli.reports.defenses import draw_defended, draw_panels
    from poisoncli.runs.export import new_file
    from poisoncli.sweeps.contents import contents

    plan, panels = contents(folder)
    if not panels:
        raise PoisonError(f"no run of {folder} is finished: repeat `poison sweep` until one is")
    if plan.picture and not draw and not metric:
        yield draw_panels(panels, plan.picture, plan.title, path, data_dir)
        return
    wanted = figures.with_metric(tuple(draw.split(",")) if draw else plan.layout.draw, metric)
    layout = dataclasses.replace(plan.layout, draw=wanted)
    there = {cell.name: panels.get(cell.panel, {}).get(cell.line) for cell in plan.cells}
    own = {
        path.with_name(f"{name}{path.suffix}"): content
        for name, content in there.items()
        if content and content.defenses and "defenses" not in wanted
    }
    for beside in own:
        context.with_resource(new_file(beside, force))
    yield figures.grid(panels, layout, plan.title, path, data_dir)
    for beside, content in own.items():
        yield draw_defended(content, beside, data_dir, metric=metric)
