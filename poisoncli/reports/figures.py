"""Run files to figures: which panels there are, how they are arranged, and which style each line has."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from poisoncli.core.errors import PoisonError
from poisoncli.reports import measures, summary
from poisoncli.reports.measures import QUANTITIES
from poisoncli.reports.panels import LAYERS, SEARCHES, STYLES, draw_histogram, draw_lines, draw_map, draw_search
from poisoncli.runs import run_file, serialize
from poisoncli.runs.run_file import RunFile

FORMATS = (".png", ".pdf", ".svg")
# the style of each policy for lambda
POLICIES = {"none": 0, "clean": 1, "fixed": 2, "learned": 3, "layers": 4, "learned-clean": 5}
SINGLE = ("histogram", "position")  # what shows one run on axes of its own
MOST_COLUMNS = 20  # panels beside each other
Panels = Mapping[str, Mapping[str, RunFile]]  # run files by panel and line


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a sweep is drawn: for each quantity of `draw` the panels in rows of `columns`, 0 for all in one row.

    draw: of `measures.QUANTITIES`, or `metric:` and a measure of the test rows such as `auc`; two on one
        panel as `log_lambda+norm`, of the learned lambdas if there are any;
        `histogram` and `position` (a map of the plane, see `maps`), which show each line on axes of its own;
        `time`, the best error that a search has found (KSL Fig. 4), and `defenses`, bars of the error behind each.
    selected: for `consistency`, how many features each panel selects; a row for each number.
    against: for `decrease`, the panel that holds the same lines without a penalty; others are left out.
    """

    draw: tuple[str, ...] = ("test_error",)
    columns: int = 0
    selected: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    against: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.draw:
            raise PoisonError("there is nothing to draw: name a quantity, such as test_error")
        for joined in self.draw:
            names = joined.split("+")
            for name in names:
                if name not in (*QUANTITIES, *SINGLE, *SEARCHES) and not name.startswith("metric:"):
                    known = ", ".join((*QUANTITIES, *SINGLE, *SEARCHES))
                    raise PoisonError(f"{name!r} cannot be drawn: draw one of {known}")
            alone = [name for name in names if name in (*SINGLE, *SEARCHES)]
            if alone and len(names) > 1:
                raise PoisonError(f"{alone[0]} has axes of its own: draw {','.join(names)} instead of {joined}")
        if not 0 <= self.columns <= MOST_COLUMNS:
            raise PoisonError(f"columns is {self.columns}: give a whole number from 0 to {MOST_COLUMNS}")


@dataclasses.dataclass(frozen=True)
class _Spot:
    """What one pair of axes shows: quantities of a panel; k features selected, or the line that it shows alone."""

    quantities: tuple[str, ...]
    panel: str
    k: int = 0
    line: str = ""


def figure(
    contents: Sequence[RunFile],
    out: str | Path,
    draw: Sequence[str] = (),
    data_dir: str | None = None,
    *,
    metric: str = "",
) -> Path:
    """Draw quantities against the fraction of poison, a line for each run file, with error bands.

    out: ends in .png, .pdf or .svg. draw: see `Layout`; by default the test error, and lambda where there is a
    penalty. metric: in the place of the test error. Bands are one standard error over the repetitions.
    Raises `PoisonError` for another format, or a
    file that was not evaluated.
    """
    titles = {summary.title(content) for content in contents}
    heading = titles.pop() if len(titles) == 1 else "several data sets or models"
    lines = dict(zip(summary.labels(contents), contents, strict=True))
    penalized = any(np.isfinite(content.poison.log_lambda).all() for content in contents)
    usual = ("test_error", *(("log_lambda",) if penalized else ()))
    if any(len(content.timeline) for content in contents):
        usual = ("defenses", "time")
    draw = with_metric(tuple(draw) or usual, metric)
    layout, panels = Layout(draw), {"": lines}
    spots = [spot for row in _rows(layout, panels) for spot in row if spot]
    columns = 3 if len(spots) > 4 else max(1, len(spots))
    rows: list[list[_Spot | None]] = [list(spots[i : i + columns]) for i in range(0, len(spots), columns)]
    return _draw(panels, rows, layout, heading, Path(out), data_dir)


def with_metric(draw: tuple[str, ...], metric: str) -> tuple[str, ...]:
    """Quantities to draw, with a metric in the place of the test error; first, where that is not among them."""
    if not metric:
        return draw
    found = tuple(f"metric:{metric}" if name == "test_error" else name for name in draw if name not in SEARCHES)
    return found if f"metric:{metric}" in found else (f"metric:{metric}", *found)


def grid(panels: Panels, layout: Layout, heading: str, out: str | Path, data_dir: str | None = None) -> Path:
    """Draw a sweep as its layout says; the same line has the same color in all panels."""
    return _draw(panels, _rows(layout, panels), layout, heading, Path(out), data_dir)


def check_format(path: Path) -> None:
    """Raise `PoisonError` unless the end of the name tells a format that can be drawn."""
    if path.suffix.lower() not in FORMATS:
        raise PoisonError(f"{path} has no format that can be drawn: end its name in {', '.join(FORMATS)}")


def _rows(layout: Layout, panels: Panels) -> list[list[_Spot | None]]:
    """The axes of a figure, row by row; None where a row is shorter than others."""
    names = list(panels)
    columns = layout.columns or len(names)
    rows = []
    for joined in layout.draw:
        for chunk in (names[i : i + columns] for i in range(0, len(names), columns)):
            spots = [_variants(joined, name, layout, panels) for name in chunk]
            for number in range(max(map(len, spots))):
                row = [each[number] if number < len(each) else None for each in spots]
                rows.append(row + [None] * (columns - len(row)))
    if layout.draw == ("position",) and len(names) == 1:  # side by side, as in the papers
        return [[spot for row in rows for spot in row]]
    return rows


def _variants(joined: str, panel: str, layout: Layout, panels: Panels) -> list[_Spot]:
    """The axes of one panel for one entry of `draw`."""
    quantities = tuple(joined.split("+"))
    if joined in SINGLE:
        return [_Spot(quantities, panel, line=line) for line in panels[panel]]
    if joined == "consistency":
        first = next(iter(panels[panel].values()))
        return [_Spot(quantities, panel, k) for k in layout.selected.get(panel, measures.selected(first))]
    if joined == "decrease" and layout.against.get(panel, panel) not in panels:
        return []
    if joined == "decrease" and panel not in layout.against:
        others = list(panels[panel].values())
        return [_Spot(quantities, panel)] if any(measures.reference(one, others) for one in others) else []
    return [_Spot(quantities, panel)]


def _draw(
    panels: Panels,
    rows: list[list[_Spot | None]],
    layout: Layout,
    heading: str,
    path: Path,
    data_dir: str | None,
) -> Path:
    check_format(path)
    if not any(spot for row in rows for spot in row):
        raise PoisonError("these runs have nothing of that kind to draw: choose another --draw")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shape = (len(rows), max(map(len, rows)))
    drawing = Figure(figsize=(4.4 * shape[1], 3.3 * shape[0] + 0.9), layout="constrained")
    FigureCanvasAgg(drawing)
    styles, legend, alike = _styles(panels), {}, {}
    for axes, row in zip(drawing.subplots(*shape, squeeze=False), rows, strict=True):
        for axis, spot in zip(axes, row + [None] * (len(axes) - len(row)), strict=True):
            if spot is None:
                axis.set_axis_off()
            elif spot.quantities == ("histogram",):
                title = f"{spot.panel}: {spot.line}".removeprefix(": ")
                legend.update(draw_histogram(axis, title, panels[spot.panel][spot.line]))
            elif spot.quantities == ("position",):
                legend.update(draw_map(axis, spot.line, panels[spot.panel][spot.line], data_dir))
            elif spot.quantities[0] in SEARCHES:
                legend.update(draw_search(axis, spot.quantities[0], spot.panel, panels[spot.panel], styles))
            else:
                legend.update(_draw_spot(axis, spot, panels, layout, styles))
                if len(spot.quantities) == 1:  # a second one has an axis of its own
                    alike.setdefault(_subject(spot, panels), []).append(axis)
    for same in alike.values():
        _share_heights(same)
    _share_colors(drawing)
    drawing.suptitle(heading, fontsize=11)
    widest = 0.5 + 0.068 * max(map(len, legend), default=0)  # inches
    columns = max(1, min(len(legend), int(4.4 * shape[1] / widest)))
    drawing.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=columns, fontsize=8)
    run_file.replace(path, image(drawing, path.suffix.lower()[1:]))
    return path


def _subject(spot: _Spot, panels: Panels) -> tuple:
    """What axes show, and of which data: where both are the same, heights can be compared by eye."""
    data = {str(serialize.from_json(content.run).dataset) for content in panels[spot.panel].values()}
    return spot.quantities, spot.k, tuple(sorted(data))


def _share_heights(axes: list[Any]) -> None:
    """Give axes one range, from the lowest to the highest of theirs."""
    ends = [axis.get_ylim() for axis in axes]
    for axis in axes:
        axis.set_ylim(min(low for low, _ in ends), max(high for _, high in ends))


def _styles(panels: Panels) -> dict[str, tuple[str, str, str]]:
    """A style for each line: that of its policy if no line before has it, else one that no policy has."""
    kinds: dict[str, set[str]] = {}
    for lines in panels.values():
        for name, content in lines.items():
            kinds.setdefault(name, set()).add(summary.policy(content))
    styles: dict[str, tuple[str, str, str]] = {}
    for name, found in kinds.items():
        style = STYLES[POLICIES[min(found)]]
        if len(found) == 1 and style not in styles.values():
            styles[name] = style
    free = [style for style in [*STYLES[6:], *STYLES[5::-1]] if style not in styles.values()]
    for number, name in enumerate(name for name in kinds if name not in styles):
        styles[name] = free[number % len(free)]
    return styles


def _draw_spot(
    axis: Any, spot: _Spot, panels: Panels, layout: Layout, styles: Mapping[str, tuple[str, str, str]]
) -> dict[str, Any]:
    """Draw the lines of a panel, a second quantity on an axis of its own; returns what a legend shows."""
    shown: dict[str, Any] = {}
    lines = panels[spot.panel]
    for number, quantity in enumerate(spot.quantities):
        place = axis.twinx() if number else axis
        several = len(spot.quantities) > 1
        learned = {name: one for name, one in lines.items() if summary.policy(one) in ("learned", "layers")}
        for name, content in (learned or lines if several else lines).items():
            bare = panels[layout.against[spot.panel]].get(name) if spot.panel in layout.against else None
            bare = bare or measures.reference(content, list(lines.values()))
            if quantity == "decrease" and bare is None:
                continue
            found = measures.values(content, quantity, spot.k, bare)
            if not np.isfinite(found).any():
                continue  # no penalty has no lambda to draw
            style = LAYERS[number] if several else styles[name]
            label = f"{name}: {quantity}" if several else name
            if found.shape[2] > 1 and len(lines) == 1:
                label = ""
            unit = measures.shown(content, quantity, spot.k)
            shown.update(draw_lines(place, content, found * unit.factor, label, style))
            place.set_ylabel(unit.label, color=LAYERS[number][0] if several else "black")
        if quantity in ("test_error", "norm"):
            place.set_ylim(bottom=0)
        if quantity == "layer_norm":
            place.set_yscale("log")
    axis.set_title(spot.panel, fontsize=10)
    axis.set_xlabel("poison (% of the training rows)")
    axis.grid(alpha=0.3)
    return shown


def _share_colors(drawing: Any) -> None:
    """Maps of the validation error begin at 0 and end at one value, so that they compare."""
    shades = [shade for axis in drawing.axes for shade in axis.images if shade.colorbar]
    errors = [shade for shade in shades if "error" in shade.colorbar.ax.get_ylabel()]
    for shade in errors:
        shade.set_clim(0, max(float(other.get_array().max()) for other in errors) or 1)


def image(drawing: Any, kind: str) -> bytes:
    """The drawing as a file of a kind such as png."""
    buffer = io.BytesIO()
    drawing.savefig(buffer, format=kind, dpi=150)
    return buffer.getvalue()
