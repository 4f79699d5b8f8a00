"""A grid of runs: expanded, checked, then run one after another; what is finished is skipped."""

from __future__ import annotations

import dataclasses
import importlib.resources
import itertools
import json
import logging
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from poisoncli.core.errors import Interrupted, MissingDataError, PoisonError
from poisoncli.reports.defenses import PICTURES
from poisoncli.reports.figures import Layout
from poisoncli.runs import description, replay, run_file, stages
from poisoncli.runs.description import Choice, Run
from poisoncli.sweeps import batched, shape
from poisoncli.tables.lock import writing
from poisoncli.tables.text import read_text

LOG = logging.getLogger(__name__)
PRESETS = importlib.resources.files("poisoncli.sweeps") / "presets"
_NOT_A_RUN = ("line", "selected", "against")  # what a panel has beside the fields of a run
LONGEST = 200  # letters of the name of a run file
PLAN = "sweep.toml"  # the sweep's own description, kept beside its run files


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of a sweep, its file `name`.h5, and the panel and the line of the figure that it becomes."""

    name: str
    panel: str
    line: str
    run: Run


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


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a cell: `done`, `skipped` or `failed`, with the reason.

    Skipped without a reason: it was finished before; with one: its data set is not at hand.
    """

    cell: Cell
    status: str
    reason: str = ""


def presets() -> list[str]:
    """Names of the presets that come with the package."""
    return sorted(item.name.removesuffix(".toml") for item in PRESETS.iterdir() if item.name.endswith(".toml"))


def preset(name: str) -> Sweep:
    """The preset of that name. Raises `PoisonError` if there is none."""
    description.known(name, dict.fromkeys(presets()), "preset")
    return parse((PRESETS / f"{name}.toml").read_text(encoding="utf-8"), f"preset {name}")


def load(path: str | Path, crafted: bool = False) -> Sweep:
    """The sweep that a TOML file describes; crafted: see `parse`. Raises `PoisonError` if it describes none."""
    try:
        return parse(read_text(path), str(path), crafted)
    except (OSError, UnicodeDecodeError) as error:
        raise PoisonError(f"cannot read {path}: give the TOML file of a sweep ({error})") from None


def changed(sweep: Sweep, fields: Mapping[str, int]) -> Sweep:
    """`sweep` with whole-number fields of all its runs replaced, and its text with them."""
    lines = [f"{name} = {value}" for name, value in fields.items()]
    return parse("\n".join([sweep.text.rstrip(), "", "[override]", *lines, ""]), "sweep") if lines else sweep


def parse(text: str, source: str, crafted: bool = False) -> Sweep:
    """Expand a sweep and check every run in it.

    The TOML has a `title`, optionally `draw` and `columns` (see `Layout`), `defend` (a list of defenses by name,
    or all), tables `defense.NAME` with options of a defense, tables `defender.NAME` with the `lambda`, `loss`,
    `passes` or `bias` of a defender whom the attacker does not expect, and `picture` (see `Sweep`), a table `base`
    with the fields of a run (see `description.from_mapping`), and tables `panel.NAME` and `line.NAME` whose fields
    replace those of the base: the sweep has a run for every pair of a panel and a line. `panel.NAME.line.NAME` is
    about one pair, and `override` about all; `panel.NAME.selected` and `panel.NAME.against` go to the
    layout. crafted: it was checked before, and is read for its run files alone: the code of plug-ins need not be at
    hand.
    Raises `PoisonError` for anything else.
    """
    try:
        plan = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PoisonError(f"{source} is not TOML: {error}") from None
    shape.check(plan, source)
    panels, lines = plan.get("panel") or {"": {}}, plan.get("line") or {"run": {}}
    cells, read = [], description.read_back if crafted else description.resolve
    for (panel, over), (line, under) in itertools.product(panels.items(), lines.items()):
        both = over.get("line", {}).get(line, {})
        fields = dict(plan.get("base", {}))
        for part in (over, under, both, plan.get("override", {})):
            fields = _merge(fields, {k: v for k, v in part.items() if k not in _NOT_A_RUN})
        name = "-".join(part for part in (_slug(panel), _slug(line)) if part)
        if not 0 < len(name) <= LONGEST:
            raise PoisonError(f"{source}: {panel!r} and {line!r} make no file name: use 1 to {LONGEST} letters")
        name = _unique(name, {cell.name for cell in cells})
        cells.append(Cell(name, panel, line, read(description.from_mapping(fields))))
    defend = tuple(plan.get("defend", ()))
    options, picture = plan.get("defense", {}), plan.get("picture", "")
    if not crafted:
        _check_defenses(defend, options)
    if picture:
        description.known(picture, dict.fromkeys(PICTURES), "picture")
    title = plan.get("title", source)
    defenders = plan.get("defender", {})
    return Sweep(title, _layout(plan, panels), tuple(cells), text, defend, options, picture, defenders)


def _check_defenses(defend: Sequence[str], options: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise `PoisonError` for a defense that is not there, and for options of one that is not tried."""
    for name in set(defend) - {"all"}:
        description.known(name, description.DEFENSES, "defense")
    for name, given in options.items():
        tried = description.DEFENSES if "all" in defend else dict.fromkeys(defend)
        description.known(name, tried, "defense to be tried")
        description.resolve_defense(Choice(name, given))


def _layout(plan: Mapping[str, Any], panels: Mapping[str, Any]) -> Layout:
    """How the sweep is drawn. Raises `PoisonError` where it names a quantity or a panel that is not there."""
    against = {name: panel["against"] for name, panel in panels.items() if "against" in panel}
    for other in against.values():
        description.known(other, panels, "panel")
    return Layout(
        draw=tuple(plan.get("draw", ("test_error",))),
        columns=plan.get("columns", 0),
        selected={name: tuple(panel["selected"]) for name, panel in panels.items() if "selected" in panel},
        against=against,
    )


def _slug(text: str) -> str:
    kept = "".join(letter if letter.isalnum() else "-" for letter in text.lower())
    return "-".join(part for part in kept.split("-") if part)


def _unique(name: str, taken: set[str]) -> str:
    """`name`, with a number where an earlier cell has it: `lr 0.1` and `lr 0-1` need a file each."""
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return name if name not in taken else next(one for one in numbered if one not in taken)


def differences(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """For each cell the fields and options of its run in which cells differ, such as `n_val` or `attack.batch`."""
    runs = [_flat(json.loads(description.to_json(cell.run))) for cell in cells]
    names = dict.fromkeys(name for run in runs for name in run)
    different = [name for name in names if len({json.dumps(run.get(name)) for run in runs}) > 1]
    return [{name: run[name] for name in different if name in run} for run in runs]


def _flat(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found = {}
    for name, value in fields.items():
        found.update(_flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value})
    return found


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the fields of `over`; the options of a method are merged as long as its name stays."""
    merged = dict(base)
    for name, value in over.items():
        old = merged.get(name)
        old = {"name": old} if isinstance(old, str) and name in description.TABLES else old
        if (
            isinstance(old, Mapping)
            and isinstance(value, Mapping)
            and value.get("name", old.get("name")) == old.get("name")
        ):
            value = {**old, **value}
        merged[name] = value
    return merged


def execute(
    sweep: Sweep,
    out: str | Path,
    *,
    data_dir: str | None = None,
    report: stages.Report = lambda done, total, what: None,
    finished: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Run and evaluate every cell into the folder `out`; a cell that fails does not stop the others.

    Finished cells are skipped and interrupted ones go on, so calling it again completes a sweep. Cells that
    differ in their lambda alone are crafted together, see `batched`.
    finished: called with each cell's outcome, as it comes. Raises `PoisonError` if `out` holds another sweep, and
    `Interrupted`.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    plan = folder / PLAN
    with writing(plan):
        if not plan.exists():
            run_file.replace(plan, sweep.text.encode())
        elif plan.read_text(encoding="utf-8") != sweep.text:
            raise PoisonError(f"{folder} holds another sweep: choose another --out, or empty it")
    outcomes: dict[int, Outcome] = {}
    try:
        for group in batched.groups([cell.run for cell in sweep.cells]):
            _craft_group([sweep.cells[number] for number in group], folder, data_dir, report)
            for number in group:
                cell = sweep.cells[number]
                label = f"{len(outcomes) + 1}/{len(sweep.cells)} {cell.name}"
                outcomes[number] = _run_cell(cell, sweep, folder, data_dir, _labeled(report, label))
                finished(outcomes[number])
    except (KeyboardInterrupt, Interrupted):
        kept = "".join(f", from {path}" for path in sorted(folder.glob("*.partial")))
        raise Interrupted(
            f"interrupted after {len(outcomes)} of {len(sweep.cells)} runs: the same command goes on{kept}"
        ) from None
    return [outcomes[number] for number in sorted(outcomes)]


def _craft_group(cells: list[Cell], folder: Path, data_dir: str | None, report: stages.Report) -> None:
    """Craft the poison of cells that share their rows; where that fails, each says so when it runs alone."""
    paths = [folder / f"{cell.name}.h5" for cell in cells]
    if len(cells) == 1 or all(path.exists() for path in paths):
        return
    try:
        label = f"{' + '.join(cell.line for cell in cells)}, {cells[0].panel}".strip(", ")
        batched.attack([cell.run for cell in cells], paths, data_dir=data_dir, report=_labeled(report, label))
    except Interrupted:
        raise
    except PoisonError as error:
        LOG.info("%s are crafted one by one: %s", " + ".join(cell.name for cell in cells), error)


def _run_cell(cell: Cell, sweep: Sweep, folder: Path, data_dir: str | None, report: stages.Report) -> Outcome:
    path = folder / f"{cell.name}.h5"
    try:
        finished = path.exists()
        stages.attack(
            cell.run, path, data_dir=data_dir, resume=True, report=report
        )  # refuses a file of another run
        content = run_file.read(path)
        names = description.defenses(sweep.defend, content.real)
        others = {name: _file(cell, folder, name) for name in sweep.defenders}
        judged = all(other.exists() for other in others.values())
        if finished and judged and {"none", *names} <= set(content.evaluations):
            return Outcome(cell, "skipped")
        for name in names:
            stages.defend(path, Choice(name, sweep.options.get(name, {})), data_dir=data_dir, report=report)
        content = stages.evaluate(path, data_dir=data_dir, report=report)
        choices = [description.resolve_defense(Choice(name, sweep.options.get(name, {}))) for name in names]
        for name, other in others.items():
            if not other.exists():
                changes = {
                    ("lambda_" if key == "lambda" else key): value for key, value in sweep.defenders[name].items()
                }
                run_file.write(
                    other, replay.reevaluate(content, choices, **changes, data_dir=data_dir, report=report)
                )
    except Interrupted:
        raise
    except MissingDataError as error:
        return Outcome(cell, "skipped", str(error))
    except PoisonError as error:
        return Outcome(cell, "failed", str(error))
    return Outcome(cell, "done")


def _file(cell: Cell, folder: Path, defender: str = "") -> Path:
    """The run file of a cell, or of the same poison before another defender."""
    return folder / (f"{cell.name}--{_slug(defender)}.h5" if defender else f"{cell.name}.h5")


def _labeled(report: stages.Report, label: str) -> stages.Report:
    return lambda done, total, what: report(done, total, f"{label}: {what}")


def contents(folder: str | Path) -> tuple[Sweep, dict[str, dict[str, run_file.RunFile]]]:
    """A sweep's description, and its evaluated run files by panel and line; unfinished cells are left out."""
    plan = Path(folder) / PLAN
    if not plan.is_file():
        raise PoisonError(f"{folder} holds no sweep: fill it with `poison sweep --preset NAME --out {folder}`")
    sweep = load(plan, crafted=True)
    found: dict[str, dict[str, run_file.RunFile]] = {}
    for defender in sweep.defenders or [""]:
        for cell in sweep.cells:
            path = _file(cell, Path(folder), defender)
            content = run_file.read(path) if path.exists() else None
            if content and "none" in content.evaluations:
                found.setdefault(f"{cell.panel} {defender}".strip(), {})[cell.line] = content
    return sweep, found
