"""Figures of defenses: damage and gain, the rows of a line, and what is suspicious in a user's own rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from poisoncli.core.errors import PoisonError
from poisoncli.reports import figures, measures, plane, summary
from poisoncli.runs import description, run_file
from poisoncli.runs.own_rows import WeighedRows
from poisoncli.runs.prepare import Prepared, restore
from poisoncli.runs.run_file import RunFile

HARM = "#D55E00"  # the area where a defense does harm
PICTURES = ("gain", "rows", "landscape")  # what a sweep can be drawn as, beside curves


def draw_defended(content: RunFile, out: str | Path, data_dir: str | None = None, *, metric: str = "") -> Path:
    """Draw an evaluated run with defenses: test error without them, and their gains (SPR Figs. 5-8, 10-13).

    metric: what is drawn in the place of the test error.

    The area of negative gain is shaded: there a defense does harm. A data set of one feature gets a panel for
    each defense with the rows of the first repetition at the largest fraction (SPR Figs. 1, 4, 9, 14).
    Raises `PoisonError` for another format, or a file without evaluated defenses.
    """
    names = _defenses(content)
    if not names:
        raise PoisonError(
            "the run file holds no evaluated defense: run `poison defend` and `poison evaluate` first"
        )
    rows = names if content.poison.x.shape[2] == 1 else []
    drawing, axes = _axes((1, 2 + len(rows)), Path(out))
    damage, gain, *others = axes[0]
    _draw_damage(damage, content, metric)
    shown = _draw_gains(gain, content, names, metric=metric)
    for axis, name in zip(others, rows, strict=True):
        plane.draw_rows(axis, content, restore(content, data_dir), name)
        axis.set_title(name, fontsize=10)
        shown.update(_shown(axis))
    drawing.suptitle(f"{summary.title(content)}\n{summary.label(content)}", fontsize=10)
    return _write(drawing, shown, Path(out))


def draw_panels(
    panels: Mapping[str, Mapping[str, RunFile]], kind: str, heading: str, out: str | Path, data_dir: str | None
) -> Path:
    """Draw a sweep as one of `PICTURES`; panels: run files by panel and line.

    gain: a column for each panel, a row for each line, a curve for each defense (SPR Figs. 6-8, 10, 11).
    rows: the rows of a data set with one feature, a row for each line and a column for each defense (SPR Figs. 1,
    4, 9, 14). landscape: what the attacker climbs, a column for each line (SPR Figs. 2, 3).
    Raises `PoisonError` for another format, or runs that cannot be drawn so.
    """
    if kind == "gain":
        cells = _gain_cells(panels)
    else:
        lines = {f"{panel} {line}".strip(): one for panel, runs in panels.items() for line, one in runs.items()}
        cells = _plane_cells(lines, kind, data_dir)
    drawing, axes = _axes((len(cells), len(cells[0])), Path(out))
    shown: dict[str, Any] = {}
    for row, places in zip(cells, axes, strict=True):
        for cell, axis in zip(row, places, strict=True):
            if cell is None:
                axis.set_axis_off()
                continue
            title, draw = cell
            colors = draw(axis)
            axis.set_title(title, fontsize=10)
            shown.update(_shown(axis))
            if kind == "landscape":
                drawing.colorbar(colors, ax=axis, label="attacker's objective" if cell is row[-1] else "")
    if kind == "gain":
        low = min(axis.get_ylim()[0] for axis in axes.flat if axis.axison)
        for axis in axes.flat:
            axis.set_ylim(low, 105)
    drawing.suptitle(heading, fontsize=11)
    return _write(drawing, shown, Path(out), background="0.8" if kind == "landscape" else "white")


def _gain_cells(panels: Mapping[str, Mapping[str, RunFile]]) -> list[list[Any]]:
    """Titles and functions that draw on axes, a row for each line; None where a run is not finished."""
    lines = dict.fromkeys(line for runs in panels.values() for line in runs)
    cells = []
    for line in lines:
        row = []
        for panel, runs in panels.items():
            content = runs.get(line)
            row.append(content and (f"{panel}, {line}".removeprefix(", "), _gain_drawer(content)))
        cells.append(row)
    return cells


def _gain_drawer(content: RunFile) -> Any:
    return lambda axis: _draw_gains(axis, content, _defenses(content), told=False)


def _plane_cells(lines: Mapping[str, RunFile], kind: str, data_dir: str | None) -> list[list[Any]]:
    """As `_gain_cells`, for data with one feature."""
    for content in lines.values():
        if content.poison.x.shape[2] != 1 or (kind == "landscape" and not content.poison.trail.size):
            raise PoisonError("these runs have no plane to draw: take attack stealthy on data with one feature")

    def landscape(content: RunFile) -> Any:
        return lambda axis: plane.draw_landscape(axis, content, restore(content, data_dir))

    def rows(content: RunFile, prepared: Prepared, name: str) -> Any:
        return lambda axis: plane.draw_rows(axis, content, prepared, name)

    if kind == "landscape":
        return [[(line, landscape(content)) for line, content in lines.items()]]
    cells = [
        [(f"{name}, {line}", rows(content, restore(content, data_dir), name)) for name in _defenses(content)]
        for line, content in lines.items()
    ]
    return [[cell for row in cells for cell in row]] if len(cells[0]) == 1 else cells


def draw_weighed(found: WeighedRows, out: str | Path) -> Path:
    """Draw what a defense makes of a user's rows: prediction or row number across, target or score up.

    With a predictive mean and standard deviation the rows stand against the mean, with bands of half and one
    and a half standard deviations (SPR Fig. 14); rows removed are crosses.
    """
    drawing, axes = _axes((1, 1), Path(out))
    axis, kept = axes[0, 0], found.weight > 0
    if {"mean", "std"} <= set(found.why):
        across, up = found.why["mean"], found.y
        order = np.argsort(across)
        mean, std = across[order], found.why["std"][order]
        for width, color in ((1.5, HARM), (0.5, "#CC79A7")):
            label = f"mean ± {width} standard deviations"
            axis.fill_between(
                mean, mean - width * std, mean + width * std, color=color, alpha=0.2, linewidth=0, label=label
            )
        axis.set_xlabel("predictive mean")
        axis.set_ylabel("target")
    else:
        across, up = found.row, found.score
        axis.set_xlabel(f"row ({found.counted})")
        axis.set_ylabel("score")
    axis.plot(across[kept], up[kept], "o", color="#0072B2", markersize=3, label="kept")
    axis.plot(across[~kept], up[~kept], "x", color=HARM, label="removed")
    axis.set_title(f"{Path(found.path).name}: {found.defense}", fontsize=10)
    return _write(drawing, _shown(axis), Path(out))


def _defenses(content: RunFile) -> list[str]:
    """The evaluated defenses, in the order in which they are listed everywhere."""
    listed = dict.fromkeys([*description.DEFENSES, *content.defenses])  # those of plug-ins may not be at hand
    return [name for name in listed if name in content.defenses and name in content.evaluations]


def _draw_damage(axis: Any, content: RunFile, metric: str) -> None:
    """The test error without a defense, or another metric."""
    _curve(axis, content, "none", "value", "no defense", ("#000000", "o", "black"), metric)
    shown = measures.shown(content, f"metric:{metric}" if metric else "test_error")
    axis.set_ylabel(shown.label)
    if not summary.measure(content, metric).metric.high:
        axis.set_ylim(bottom=0)


def _draw_gains(
    axis: Any, content: RunFile, names: list[str], told: bool = True, metric: str = ""
) -> dict[str, Any]:
    """The gain of each defense, the area of negative gain shaded; dashed where a defense is given trusted rows.

    told: say in the legend what each was told. Returns what a legend shows.
    """
    for name in names:
        label = f"{name} ({content.defenses[name].knows})" if told else name
        _curve(axis, content, name, "gain", label, _style(name), metric)
    axis.set_ylabel(f"gain, {summary.measure(content, metric).label} (%)" if metric else "gain (%)")
    low = min(axis.get_ylim()[0], -10)
    axis.axhspan(-1000, 0, color=HARM, alpha=0.12, linewidth=0)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_ylim(low, 105)
    return _shown(axis)


def _style(name: str) -> tuple[str, str, str]:
    """Color, marker and the marker's filling of a defense: the same in every figure."""
    known = list(description.DEFENSES)
    number = known.index(name) if name in known else len(known)
    color, _, marker = figures.STYLES[number % len(figures.STYLES)]
    return color, marker, color if number < len(figures.STYLES) else "white"


def _curve(
    axis: Any,
    content: RunFile,
    name: str,
    key: str,
    label: str,
    style: tuple[str, str, str],
    metric: str = "",
) -> None:
    """One line with a band of one standard error; gains and shares in percent."""
    table = summary.rows(content, name, metric)
    factor = 100 if key == "gain" or summary.measure(content, metric).metric.share else 1
    color, marker, filling = style
    line = "--" if name != "none" and "trusted" in content.defenses[name].knows else "-"
    x = [100 * row["fraction"] for row in table]
    mean, error = (factor * np.array([row[k] for row in table]) for k in (key, f"{key}_se"))
    axis.plot(x, mean, line, color=color, marker=marker, markerfacecolor=filling, markersize=5, label=label)
    axis.fill_between(x, mean - error, mean + error, color=color, alpha=0.15, linewidth=0)
    axis.set_xlabel("poison (% of the training rows)")
    axis.grid(alpha=0.3)


def _shown(axis: Any) -> dict[str, Any]:
    """What a legend of the axis shows, by label."""
    handles, labels = axis.get_legend_handles_labels()
    return dict(zip(labels, handles, strict=True))


def _axes(shape: tuple[int, int], path: Path) -> tuple[Any, Any]:
    figures.check_format(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(4.2 * shape[1] + 0.3, 3.2 * shape[0] + 1.2), layout="constrained")
    FigureCanvasAgg(drawing)
    return drawing, drawing.subplots(*shape, squeeze=False)


def _write(drawing: Any, shown: Mapping[str, Any], path: Path, background: str = "white") -> Path:
    """Add the legend below, on a background on which its lines are seen, and write the file."""
    place = {"loc": "outside lower center", "ncols": min(len(shown), max(1, int(drawing.get_figwidth() / 2.1)))}
    drawing.legend(shown.values(), shown.keys(), fontsize=8, facecolor=background, **place)
    run_file.replace(path, figures.image(drawing, path.suffix.lower()[1:]))
    return path
