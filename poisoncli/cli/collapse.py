"""poison collapse: many poison rows as few distinct points."""

from __future__ import annotations

from typing import Annotated

import typer

from poisoncli.cli.common import as_json, guarded, note, one_path
from poisoncli.cli.shared_options import DataDir, Debug, Plugins


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("collapse")(guarded(collapse))


def collapse(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="A run file of `poison attack` with rows added; - reads its path.")],
    out: Annotated[
        str | None, typer.Argument(help="Write the points with their labels and copies (.npz). Default: nothing.")
    ] = None,
    repetition: Annotated[int, typer.Option(help="Which repetition, from 0.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    data_dir: DataDir = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No remarks.")] = False,
    plugin: Plugins = None,
    debug: Debug = False,
) -> None:
    """Collapse added poison to two distinct points that attain the same parameters, k(k-1) for k classes.

    KSL Theorem 1 and Proposition 10; says where their conditions do not hold.
    """
    from pathlib import Path

    from poisoncli.runs import replay, run_file
    from poisoncli.runs.export import new_file

    if out:
        context.with_resource(new_file(Path(out), force))
    content = run_file.read(one_path(run))
    found = replay.collapse(content, repetition, data_dir)
    points = found.points
    if out:
        replay.write_points(points, out)
        note(f"wrote the points to {out}: poison evaluate --dataset NAME --poison {out}", quiet)
    clean, whole, few = found.test_error
    if json:
        row = {"points": len(points.y), "labels": points.y.tolist(), "copies": points.copies.tolist()}
        errors = {"test_error_clean": clean, "test_error_rows": whole, "test_error_points": few}
        print(as_json({**row, "mismatch": points.mismatch, "exact": points.exact, "why": points.why, **errors}))
        return
    copies = ", ".join(
        f"{count:.1f} of class {label:g}" for label, count in zip(points.y, points.copies, strict=True)
    )
    print(f"{content.poison.y.shape[1]} rows collapse to {len(points.y)} distinct points: {copies}")
    print(f"gradients at the attained parameters differ by {points.mismatch:.1e} of their norm")
    print(f"test error: clean {clean:.2%}, all rows {whole:.2%}, points repeated whole times {few:.2%}")
    print("the conditions of the theorem hold" if points.exact else f"the theorem does not hold here: {points.why}")
