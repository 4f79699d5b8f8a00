"""What one pair of axes shows: curves, bars, histograms of the weights, maps of the plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from poisoncli.reports import measures, point_map, summary
from poisoncli.runs import serialize
from poisoncli.runs.run_file import RunFile

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
# of layers, and of two quantities on one panel: Tol's muted colors, which no policy has
LAYERS = [("#332288", "-", "o"), ("#882255", "--", "s"), ("#44AA99", "-.", "^"), ("#999933", ":", "D")]
SEARCHES = {  # what is not drawn against the fraction of poison, and what it is called on an axis
    "time": "target error behind the best defense (%)",
    "defenses": "test error (%)",
}


def draw_lines(
    axis: Any, content: RunFile, values: np.ndarray, label: str, style: tuple[str, str, str]
) -> dict[str, Any]:
    """Mean and standard error of values [repetitions, stages, lines]; several lines are layers."""
    x = 100 * content.poison.counts / serialize.from_json(content.run).n_train
    shown = {}
    for number in range(values.shape[2]):
        layered = values.shape[2] > 1
        color, line, marker = LAYERS[number % len(LAYERS)] if layered else style
        spread = np.array([summary.mean_and_error(values[:, s, number]) for s in range(values.shape[1])])
        mean, error = spread[:, 0], spread[:, 1]
        name = f"{label}, layer {number + 1}".removeprefix(", ") if layered else label
        shown[name] = axis.plot(x, mean, line, color=color, marker=marker, markersize=4.5)[0]
        axis.fill_between(x, mean - error, mean + error, color=color, alpha=0.2, linewidth=0)
    return shown


def draw_search(
    axis: Any, kind: str, title: str, lines: Mapping[str, RunFile], styles: Mapping[str, tuple[str, str, str]]
) -> dict[str, Any]:
    """A search's best error so far against time (KSL Fig. 4), or bars of the error behind each defense (Fig. 3)."""
    shown = {}
    bars = list(dict.fromkeys(row["defense"] for one in lines.values() for row in summary.all_rows(one)))
    for number, (name, content) in enumerate(lines.items()):
        color, line, marker = styles[name]
        if kind == "time" and len(content.timeline):
            seconds, best = content.timeline.T
            look = {"color": color, "marker": marker, "markersize": 4.5}
            shown[name] = axis.step(seconds / 60, 100 * best, line, where="post", **look)[0]
        elif kind == "defenses":
            rows = summary.all_rows(content)
            table = {row["defense"]: row for row in rows}  # of each defense the last stage
            clean = {row["defense"]: row for row in reversed(rows)}  # and the first
            width = 0.8 / len(lines)
            at = [bars.index(defense) + width * (number - (len(lines) - 1) / 2) for defense in table]
            errors, spread = ([100 * row[key] for row in table.values()] for key in ("test_error", "test_error_se"))
            hatch = ("", "//", "..", "xx", "--", "\\\\")[number % 6]
            look = {"color": color, "hatch": hatch, "edgecolor": "white"}
            shown[name] = axis.bar(at, errors, width, yerr=spread, **look)
            level = [100 * clean[defense]["test_error"] for defense in table]
            ends = np.array(at) - width / 2, np.array(at) + width / 2
            axis.hlines(level, *ends, color="white", linewidth=4)  # to be seen on black bars
            shown["without poison"] = axis.hlines(level, *ends, color="black", linewidth=1.5)
    if kind == "defenses":
        axis.set_xticks(range(len(bars)), bars)
    else:
        axis.set_xlim(left=0)
    axis.set_xlabel("minutes" if kind == "time" else "defense")
    axis.set_ylabel(SEARCHES[kind])
    axis.margins(y=0.1)
    axis.autoscale(axis="y")
    axis.set_ylim(bottom=0)
    axis.set_title(title, fontsize=10)
    axis.grid(alpha=0.3, axis="y")
    if "without poison" in shown:  # last in the legend
        shown["without poison"] = shown.pop("without poison")
    return shown


def draw_histogram(axis: Any, title: str, content: RunFile) -> dict[str, Any]:
    """Weights of the clean and of the poisoned victim (RCH Fig. 3); numbers on a log scale, for most are near 0."""
    found = measures.histogram(content)
    share = 100 * content.poison.counts[-1] / serialize.from_json(content.run).n_train
    color, other = STYLES[0][0], STYLES[1][0]
    shown = {
        "clean victim": axis.stairs(found["clean"], found["edges"], fill=True, color=color, alpha=0.45),
        "poisoned victim": axis.stairs(
            found["poisoned"], found["edges"], edgecolor=other, linewidth=1.3, hatch="////", fill=False
        ),
    }
    axis.set_yscale("log")
    axis.set_ylim(bottom=0.7)
    axis.set_title(f"{title}, {share:.0f} % poison", fontsize=10)
    axis.set_xlabel("weight")
    axis.set_ylabel("number of weights")
    axis.grid(alpha=0.3)
    return shown


def draw_map(axis: Any, title: str, content: RunFile, data_dir: str | None) -> dict[str, Any]:
    """Draw what the poison does at every place, with the training rows and the victims' boundaries (HLP Fig. 1)."""
    found = point_map.draw(content, data_dir)
    extent = (found.across[0], found.across[-1], found.up[0], found.up[-1])
    values = found.values if found.is_lambda else 100 * found.values
    label = "best log_lambda" if found.is_lambda else "validation error (%)"
    shade = axis.imshow(values, origin="lower", extent=extent, cmap="cividis", aspect="equal")
    axis.figure.colorbar(shade, ax=axis, label=label, shrink=0.85)
    shown = {}
    for number, (name, color, marker) in enumerate(
        zip(point_map.names(content), ("#56B4E9", "#009E73"), ("o", "s"), strict=True)
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
    left, right, bottom, top = extent
    box = {"color": "gray", "linestyle": "-.", "linewidth": 1.2}
    axis.plot([left, right, right, left, left], [bottom, bottom, top, top, bottom], **box)
    wide, high = 0.06 * (right - left), 0.06 * (top - bottom)
    axis.set(xlim=(left - wide, right + wide), ylim=(bottom - high, top + high))
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("first feature")
    axis.set_ylabel("second feature")
    return shown
