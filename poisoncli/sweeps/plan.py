"""What a sweep is: its runs, how they are defended and drawn; read from TOML or a preset, and checked."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.resources
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from poisoncli.core.declared import NOTHING
from poisoncli.core.errors import PoisonError
from poisoncli.reports.defenses import PICTURES
from poisoncli.reports.figures import Layout
from poisoncli.runs import description, serialize
from poisoncli.runs.description import Choice, Run
from poisoncli.runs.prepare import named_by_rows
from poisoncli.sweeps import expand, grid, shape
from poisoncli.sweeps.grid import Cell
from poisoncli.tables import toml_text
from poisoncli.tables.text import read_text

PRESETS = importlib.resources.files("poisoncli.sweeps") / "presets"
PLAN = "sweep.toml"  # the sweep's own description, kept beside its run files


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Runs that belong together.

    title: what they show; layout: how they are drawn; cells: the runs; text: the TOML that describes them;
    defend: names of defenses that each run is tried with, or `all` that fit it; options: of these, by name.
    picture: what is drawn instead of curves, see `defenses.draw_panels`; empty for curves.
    defenders: by name, in what their victims differ from the one that the attacker expects, see
    `replay.reevaluate`; where there are any, each is a panel.
    """

    title: str
    layout: Layout
    cells: tuple[Cell, ...]
    text: str
    defend: tuple[str, ...] = ()
    options: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    picture: str = ""
    defenders: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def defense(self, name: str) -> Choice:
        """A defense as the sweep tries it, with every option filled in."""
        return description.resolve_defense(Choice(name, self.options.get(name, {})))


def presets() -> list[str]:
    """Names of the presets that come with the package."""
    return sorted(item.name.removesuffix(".toml") for item in PRESETS.iterdir() if item.name.endswith(".toml"))


def preset(name: str) -> Sweep:
    """The preset of that name. Raises `PoisonError` if there is none."""
    description.known(name, dict.fromkeys(presets()), "preset")
    return parse((PRESETS / f"{name}.toml").read_text(encoding="utf-8"), f"preset {name}")


def of_grid(grid: Mapping[str, str]) -> Sweep:
    """The sweep of a grid alone: values for names, over the defaults of `poison attack`."""
    axes = expand.axes(grid, "--grid")
    varied = [name for name, values in axes.items() if len(values) > 1 and (name != "seed" or len(axes) == 1)]
    title = f"Test error by {' and '.join(varied)}" if varied else "One run"
    return parse(toml_text.written({"title": title, "grid": dict(grid)}), "--grid")


def load(path: str | Path, crafted: bool = False) -> Sweep:
    """The sweep that a TOML file describes; crafted: see `parse`. Raises `PoisonError` if it describes none."""
    try:
        return parse(read_text(path), str(path), crafted)
    except (OSError, UnicodeDecodeError) as error:
        raise PoisonError(f"cannot read {path}: give the TOML file of a sweep ({error})") from None


def changed(sweep: Sweep, fields: Mapping[str, int], grid: Mapping[str, str] = NOTHING) -> Sweep:
    """`sweep` with whole-number fields of all its runs replaced, with further axes of its grid, and its text with
    them: an axis replaces that of the same name."""
    given = {name: dict(table) for name, table in (("override", fields), ("grid", grid)) if table}
    if not given:
        return sweep
    plan = tomllib.loads(sweep.text)
    if not set(given) & set(plan):
        return parse(f"{sweep.text.rstrip()}\n\n{toml_text.written(given)}", "sweep")
    for name, table in given.items():
        old = plan.get(name, {})
        kept = expand.by_name(old) if name == "grid" else old
        plan[name] = {**kept, **table}
    return parse(toml_text.written(plan), "sweep")


def parse(text: str, source: str, crafted: bool = False) -> Sweep:
    """Expand a sweep and check every run in it.

    The TOML has a `title`, optionally `draw` and `columns` (see `Layout`), `defend` (a list of defenses by name,
    or all), tables `defense.NAME` with options of a defense, tables `defender.NAME` with the `lambda`, `loss`,
    `passes` or `bias` of a defender whom the attacker does not expect, and `picture` (see `Sweep`), a table `base`
    with the fields of a run (see `serialize.from_mapping`), and tables `panel.NAME` and `line.NAME` whose fields
    replace those of the base: the sweep has a run for every pair of a panel and a line. `panel.NAME.line.NAME` is
    about one pair, and `override` about all; `panel.NAME.selected` and `panel.NAME.against` go to the
    layout. A table `grid` has lists of values, or ranges as texts, by the names of fields and options, such as
    `trainer.rate = [0.01, 0.1]` and `seed = "0:10"`: each pair becomes a run for every point of their product.
    crafted: it was checked before, and is read for its run files alone: the code of plug-ins need not be at
    hand.
    Raises `PoisonError` for anything else.
    """
    try:
        plan = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PoisonError(f"{source} is not TOML: {error}") from None
    shape.check(plan, source)
    found = grid.cells(plan, source, serialize.read_back if crafted else _resolved)
    defend = tuple(plan.get("defend", ()))
    options, picture = plan.get("defense", {}), plan.get("picture", "")
    if not crafted:
        _check_defenses(defend, options)
    if picture:
        description.known(picture, dict.fromkeys(PICTURES), "picture")
    title = plan.get("title", source)
    defenders = plan.get("defender", {})
    return Sweep(title, _layout(plan), found, text, defend, options, picture, defenders)


def _resolved(run: Run) -> Run:
    """`run` resolved, with the model and the attack that fit the rows of the user's own file."""
    with contextlib.suppress(PoisonError):  # of a file that cannot be read: its cell says so, and stops no other
        run = named_by_rows(run)
    return description.resolve(run)


def _check_defenses(defend: Sequence[str], options: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise `PoisonError` for a defense that is not there, and for options of one that is not tried."""
    for name in set(defend) - {"all"}:
        description.known(name, description.DEFENSES, "defense")
    for name, given in options.items():
        tried = description.DEFENSES if "all" in defend else dict.fromkeys(defend)
        description.known(name, tried, "defense to be tried")
        description.resolve_defense(Choice(name, given))


def _layout(plan: Mapping[str, Any]) -> Layout:
    """How the sweep is drawn. Raises `PoisonError` where it names a quantity or a panel that is not there."""
    panels = plan.get("panel") or {"": {}}
    against = {name: panel["against"] for name, panel in panels.items() if "against" in panel}
    for other in against.values():
        description.known(other, panels, "panel")
    return Layout(
        draw=tuple(plan.get("draw", ("test_error",))),
        columns=plan.get("columns", 0),
        selected={name: tuple(panel["selected"]) for name, panel in panels.items() if "selected" in panel},
        against=against,
    )


def plan_of(folder: str | Path) -> Path:
    """The plan that a folder holds. Raises `PoisonError` if it holds none."""
    path = Path(folder) / PLAN
    if not path.is_file():
        raise PoisonError(f"{folder} holds no sweep: fill it with `poison sweep --preset NAME --out {folder}`")
    return path


def run_path(cell: Cell, folder: Path, defender: str = "") -> Path:
    """The run file of a cell, or of the same poison before another defender."""
    stem = cell.file or cell.name
    return folder / (f"{stem}--{grid.slug(defender)}.h5" if defender else f"{stem}.h5")
