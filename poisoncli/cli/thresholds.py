"""Limits of `poison evaluate`: exit status 3 where the victim does worse than --fail-above or --fail-below say."""

from __future__ import annotations

import math
from typing import Any

import typer

from poisoncli.cli.common import note


def check(above: float | None, below: float | None, at: float | None) -> None:
    """Raise `PoisonError` where the options cannot be limits."""
    from poisoncli.core.errors import PoisonError

    if at is not None and not 0 <= at <= 1:
        raise PoisonError(f"--at {at} is outside [0, 1]: give a share, such as 0.10")
    if above is not None and not 0 <= above < math.inf:
        raise PoisonError(f"--fail-above {above} is no error: give a share such as 0.10, or an NMSE")
    if below is not None and not -math.inf < below <= 1:
        raise PoisonError(f"--fail-below {below} is no limit: give a share, an AUC or an R² of at most 1")
    if at is not None and above is None and below is None:
        raise PoisonError("--at says which share of poison --fail-above is about: add --fail-above, such as 0.10")


def judge(
    tables: list[list[dict[str, Any]]],
    above: float | None,
    below: float | None,
    at: float | None,
    defenses: list[str],
    quiet: bool,
) -> None:
    """Exit with 3 where what the tables speak of passes the limit, at the stages and defenses asked about."""
    from poisoncli.core.errors import PoisonError
    from poisoncli.reports import summary
    from poisoncli.training.metrics import is_high, is_share

    rows = [row for table in tables for row in summary.spoken_of(table, at, defenses)]
    limit, flag = (above, "above") if above is not None else (below or 0.0, "below")
    for what in dict.fromkeys(row["measure"] for row in rows):
        if is_high(what) != (flag == "below"):
            falls, other = ("falls", "below") if is_high(what) else ("rises", "above")
            raise PoisonError(f"the {what} {falls} where things get worse: give --fail-{other} instead")
        if limit > 1 and is_share(what):
            raise PoisonError(f"--fail-{flag} {limit:g} is above every share of rows: give one in [0, 1]")
    sign = 1 if flag == "above" else -1
    worst = max(rows, key=lambda row: math.inf if math.isnan(row["value"]) else sign * row["value"])
    behind = "without a defense" if worst["defense"] == "none" else f"behind {worst['defense']}"
    of = f"{worst['victim']} " if "victim" in worst else ""
    where = f"{of}with {worst['fraction']:.1%} poison, {behind}"
    if at is not None:
        taken = ", ".join(dict.fromkeys(f"{row['fraction']:.1%}" for row in rows))
        note(f"--fail-{flag} looks at {taken} poison, the stage nearest to --at {at:g}", quiet)
    if not sign * worst["value"] <= sign * limit:  # what is not a number is no pass
        note(f"poison: {worst['measure']} {worst['value']:.3f} is {flag} --fail-{flag} {limit:g} ({where})", quiet)
        raise typer.Exit(3)
