"""Run files to figures: curves against the fraction of poison, and histograms of the weights."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from poisoncli import config, maps, measures, report, store
from poisoncli.core.types import PoisonError
from poisoncli.measures import QUANTITIES
from poisoncli.store import RunFile

FORMATS = (".png", ".pdf", ".svg")
# Okabe and Ito's colors, which color-blind readers tell apart, each with a line and a marker of its own
STYLES = [
    ("#0072B2", "-", "o"),
    ("#D55E00", "--", "s"),
    ("#009E73", "-.", "^"),
    ("#CC79A7", ":", "D"),
    ("#E69F00", "-", "v"),
    ("#56B4E9", "--", "P"),
    ("#000000", "-.", "X"),
    ("#8C6D31", ":", "<"),
]
# the style of each policy for lambda
POLICIES = {"none": 0, "clean": 1, "fixed": 2, "learned": 3, "layers": 4, "learned-clean": 5}
# of layers, and of two quantities on one panel: Tol's muted colors, which no policy has
LAYERS = [("#332288", "-", "o"), ("#882255", "--", "s"), ("#44AA99", "-.", "^"), ("#999933", ":", "D")]
SINGLE = ("histogram", "position")  # what shows one run on axes of its own
SEARCHES = {  # what is not drawn against the fraction of poison, and what it is called on an axis
    "time": "target error behind the best defense (%)",
    "defenses": "test error (%)",
}
Panels = Mapping[str, Mapping[str, RunFile]]  # run files by panel and line


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a sweep is drawn: for each quantity of `draw` the panels in rows of `columns`, 0 for all in one row.

    draw: of `measures.QUANTITIES`; two on one panel as `log_lambda+norm`, of the learned lambdas if there are any;
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
        for name in (name for joined in self.draw for name in joined.split("+")):
            if name not in (*QUANTITIES, *SINGLE, *SEARCHES):
                known = ", ".join((*QUANTITIES, *SINGLE, *SEARCHES))
                raise PoisonError(f"{name!r} cannot be drawn: draw one of {known}")


@dataclasses.dataclass(frozen=True)
class _Spot:
    """What one pair of axes shows: quantities of a panel; k features selected, or the line that it shows alone."""

    quantities: tuple[str, ...]
    panel: str
    k: int = 0
    line: str = ""


def figure(
    contents: Sequence[RunFile], out: str | Path, draw: Sequence[str] = (), data_dir: str | None = None
) -> Path:
    """Draw quantities against the fraction of poison, a line for each run file, with error bands.

    out: ends in .png, .pdf or .svg. draw: see `Layout`; by default the test error, and lambda where there is a
    penalty. Bands are one standard error over the repetitions. Raises `PoisonError` for another format, or a
    file that was not evaluated.
    """
    titles = {report.title(content) for content in contents}
    heading = titles.pop() if len(titles) == 1 else "several data sets or models"
    lines = {report.label(content): content for content in contents}
    if len(lines) < len(contents):  # runs that differ only in what their labels do not tell
        lines = {f"{number}. {report.label(content)}": content for number, content in enumerate(contents, 1)}
    penalized = any(np.isfinite(content.poison.log_lambda).all() for content in contents)
    usual = ("test_error", *(("log_lambda",) if penalized else ()))
    if any(len(content.timeline) for content in contents):
        usual = ("defenses", "time")
    draw = tuple(draw) or usual
    layout, panels = Layout(draw), {"": lines}
    spots = [spot for row in _rows(layout, panels) for spot in row if spot]
    columns = 3 if len(spots) > 4 else len(spots)
    rows: list[list[_Spot | None]] = [list(spots[i : i + columns]) for i in range(0, len(spots), columns)]
    return _draw(panels, rows, layout, heading, Path(out), data_dir)


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
    styles, legend = _styles(panels), {}
    for axes, row in zip(drawing.subplots(*shape, squeeze=False), rows, strict=True):
        for axis, spot in zip(axes, row + [None] * (len(axes) - len(row)), strict=True):
            if spot is None:
                axis.set_axis_off()
            elif spot.quantities == ("histogram",):
                legend.update(_draw_histogram(axis, spot, panels[spot.panel][spot.line]))
            elif spot.quantities == ("position",):
                legend.update(draw_map(axis, spot.line, panels[spot.panel][spot.line], data_dir))
            elif spot.quantities[0] in SEARCHES:
                legend.update(_draw_search(axis, spot, panels[spot.panel], styles))
            else:
                legend.update(_draw_spot(axis, spot, panels, layout, styles))
    _share_colors(drawing)
    drawing.suptitle(heading, fontsize=11)
    widest = 0.5 + 0.068 * max(map(len, legend), default=0)  # inches
    columns = max(1, min(len(legend), int(4.4 * shape[1] / widest)))
    drawing.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=columns, fontsize=8)
    store.replace(path, image(drawing, path.suffix.lower()[1:]))
    return path


def _styles(panels: Panels) -> dict[str, tuple[str, str, str]]:
    """A style for each line: that of its policy if no line before has it, else one that no policy has."""
    kinds: dict[str, set[str]] = {}
    for lines in panels.values():
        for name, content in lines.items():
            kinds.setdefault(name, set()).add(report.policy(content))
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
        learned = {name: one for name, one in lines.items() if report.policy(one) in ("learned", "layers")}
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
            shown.update(_draw_lines(place, content, found * QUANTITIES[quantity].factor, label, style))
        color = LAYERS[number][0] if several else "black"
        place.set_ylabel(QUANTITIES[quantity].label.format(spot.k), color=color)
        if quantity in ("test_error", "norm"):
            place.set_ylim(bottom=0)
        if quantity == "layer_norm":
            place.set_yscale("log")
    axis.set_title(spot.panel, fontsize=10)
    axis.set_xlabel("poison (% of the training rows)")
    axis.grid(alpha=0.3)
    return shown


def _draw_lines(
    axis: Any, content: RunFile, values: np.ndarray, label: str, style: tuple[str, str, str]
) -> dict[str, Any]:
    """Mean and standard error of values [repetitions, stages, lines]; several lines are layers."""
    x = 100 * content.poison.counts / config.from_json(content.run).n_train
    shown = {}
    for number in range(values.shape[2]):
        layered = values.shape[2] > 1
        color, line, marker = LAYERS[number % len(LAYERS)] if layered else style
        spread = np.array([report.mean_and_error(values[:, s, number]) for s in range(values.shape[1])])
        mean, error = spread[:, 0], spread[:, 1]
        name = f"{label}, layer {number + 1}".removeprefix(", ") if layered else label
        shown[name] = axis.plot(x, mean, line, color=color, marker=marker, markersize=4.5)[0]
        axis.fill_between(x, mean - error, mean + error, color=color, alpha=0.2, linewidth=0)
    return shown


def _draw_search(
    axis: Any, spot: _Spot, lines: Mapping[str, RunFile], styles: Mapping[str, tuple[str, str, str]]
) -> dict[str, Any]:
    """A search's best error so far against time (KSL Fig. 4), or bars of the error behind each defense (Fig. 3)."""
    shown = {}
    bars = list(dict.fromkeys(row["defense"] for one in lines.values() for row in report.all_rows(one)))
    for number, (name, content) in enumerate(lines.items()):
        color, line, _ = styles[name]
        if spot.quantities == ("time",) and len(content.timeline):
            seconds, best = content.timeline.T
            shown[name] = axis.step(seconds / 60, 100 * best, line, color=color, where="post")[0]
        elif spot.quantities == ("defenses",):
            table = {row["defense"]: row for row in report.all_rows(content)}  # of each defense the last stage
            width = 0.8 / len(lines)
            at = [bars.index(defense) + width * (number - (len(lines) - 1) / 2) for defense in table]
            errors, spread = ([100 * row[key] for row in table.values()] for key in ("test_error", "test_error_se"))
            hatch = ("", "//", "..", "xx", "--", "\\\\")[number % 6]
            look = {"color": color, "hatch": hatch, "edgecolor": "white"}
            shown[name] = axis.bar(at, errors, width, yerr=spread, **look)
    if spot.quantities == ("defenses",):
        axis.set_xticks(range(len(bars)), bars)
    axis.set_xlabel("minutes" if spot.quantities == ("time",) else "defense")
    axis.set_ylabel(SEARCHES[spot.quantities[0]])
    axis.set_ylim(bottom=0)
    axis.set_title(spot.panel, fontsize=10)
    axis.grid(alpha=0.3, axis="y")
    return shown


def _draw_histogram(axis: Any, spot: _Spot, content: RunFile) -> dict[str, Any]:
    """Weights of the clean and of the poisoned victim (RCH Fig. 3); numbers on a log scale, for most are near 0."""
    found = measures.histogram(content)
    share = 100 * content.poison.counts[-1] / config.from_json(content.run).n_train
    color, other = STYLES[0][0], STYLES[1][0]
    shown = {
        "clean victim": axis.stairs(found["clean"], found["edges"], fill=True, color=color, alpha=0.45),
        "poisoned victim": axis.stairs(
            found["poisoned"], found["edges"], edgecolor=other, linewidth=1.3, hatch="////", fill=False
        ),
    }
    axis.set_yscale("log")
    axis.set_ylim(bottom=0.7)
    axis.set_title(f"{spot.panel}{': ' if spot.panel else ''}{spot.line}, {share:.0f} % poison", fontsize=10)
    axis.set_xlabel("weight")
    axis.set_ylabel("number of weights")
    axis.grid(alpha=0.3)
    return shown


def draw_map(axis: Any, title: str, content: RunFile, data_dir: str | None) -> dict[str, Any]:
    """Draw what the poison does at every place, with the training rows and the victims' boundaries (HLP Fig. 1)."""
    found = maps.draw(content, data_dir)
    extent = (found.across[0], found.across[-1], found.up[0], found.up[-1])
    values = found.values if found.is_lambda else 100 * found.values
    label = "best log_lambda" if found.is_lambda else "validation error (%)"
    shade = axis.imshow(values, origin="lower", extent=extent, cmap="cividis", aspect="equal")
    axis.figure.colorbar(shade, ax=axis, label=label, shrink=0.85)
    shown = {}
    for number, (name, color, marker) in enumerate(
        zip(maps.names(content), ("#56B4E9", "#009E73"), ("o", "s"), strict=True)
    ):
        there = found.rows.y == number
        look = {"color": color, "marker": marker, "linestyle": "", "markeredgecolor": "white", "markersize": 6}
        shown[name] = axis.plot(*found.rows.x[there].T, **look)[0]
    star = {"color": "#D55E00", "marker": "*", "linestyle": "", "markeredgecolor": "white", "markersize": 15}
    shown["poison, where the attack put it"] = axis.plot(*found.point, **star)[0]
    for name, logits, color, line in (
        ("boundary of the clean victim", found.clean, "white", "--"),
        ("boundary of the poisoned victim", found.poisoned, "#D55E00", "-"),
    ):
        axis.contour(found.across, found.up, logits, levels=[0], colors=color, linestyles=line, linewidths=2)
        shown[name] = axis.plot([], [], line, color="gray" if color == "white" else color, linewidth=2)[0]
    box = {"color": "gray", "linestyle": "-.", "linewidth": 1.2}
    axis.plot([*extent[:2], *extent[1::-1], extent[0]], np.repeat(extent[2:], (2, 2))[[0, 1, 2, 3, 0]], **box)
    wide, high = (0.06 * (ends[1] - ends[0]) for ends in (extent[:2], extent[2:]))
    axis.set(xlim=(extent[0] - wide, extent[1] + wide), ylim=(extent[2] - high, extent[3] + high))
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("first feature")
    axis.set_ylabel("second feature")
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
