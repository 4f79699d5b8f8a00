"""Figures of defenses: damage and gain, the rows of a line, and what is suspicious in a user's own rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from poisoncli import report
from poisoncli.core.types import PoisonError
from poisoncli.prepare import poisoned, restore
from poisoncli.screen import Screened
from poisoncli.store import RunFile
from poisoncli.writing import replace


def draw_defended(content: RunFile, out: str | Path, data_dir: str | None = None) -> Path:
    """Draw an evaluated run with defenses: test error without them, and their gains (SPR Figs. 5-8, 10-13).

    The area of negative gain is shaded: there a defense does harm. A data set of one feature gets a panel for
    each defense with the rows of the first repetition at the largest fraction (SPR Figs. 1, 4, 9).
    Raises `PoisonError` for another format, or a file without evaluated defenses.
    """
    names = [name for name in content.defenses if name in content.evaluations]
    if not names:
        raise PoisonError(
            "the run file holds no evaluated defense: run `poison defend` and `poison evaluate` first"
        )
    rows = names if content.poison.x.shape[2] == 1 else []
    drawing, axes = _axes(2 + len(rows), Path(out))
    _curve(axes[0], content, "none", "test_error", "no defense", 0)
    axes[0].set_ylabel(report.measure(content))
    for number, name in enumerate(names):
        _curve(axes[1], content, name, "gain", f"{name} ({content.defenses[name].knows})", number)
    axes[1].set_ylabel("gain (%)")
    low = min(axes[1].get_ylim()[0], -5)
    axes[1].axhspan(low, 0, color="#D55E00", alpha=0.12, linewidth=0)
    axes[1].set_ylim(low, 105)
    for axis in axes[:2]:
        axis.set_xlabel("poison (% of the training rows)")
        axis.legend(fontsize=7)
    if rows:
        prepared = restore(content, data_dir)
        for axis, name in zip(axes[2:], rows, strict=True):
            _points(axis, content, prepared, name)
    drawing.suptitle(f"{report.title(content)}\n{report.label(content)}", fontsize=10)
    return _write(drawing, Path(out))


def draw_screened(found: Screened, out: str | Path) -> Path:
    """Draw what a defense makes of a user's rows: prediction or row number across, target or score up.

    With a predictive mean and standard deviation the rows stand against the mean, with bands of half and one
    and a half standard deviations (SPR Fig. 14); rows removed are crosses.
    """
    drawing, axes = _axes(1, Path(out))
    axis, kept = axes[0], found.weight > 0
    if {"mean", "std"} <= set(found.why):
        across, up = found.why["mean"], found.y
        order = np.argsort(across)
        mean, std = across[order], found.why["std"][order]
        for width, color in ((0.5, "#CC79A7"), (1.5, "#D55E00")):
            axis.fill_between(mean, mean - width * std, mean + width * std, color=color, alpha=0.2, linewidth=0)
        axis.set_xlabel("predictive mean")
        axis.set_ylabel("target; bands: 0.5 and 1.5 standard deviations")
    else:
        across, up = np.arange(1, len(found.y) + 1), found.score
        axis.set_xlabel("row")
        axis.set_ylabel("score")
    axis.plot(across[kept], up[kept], ".", color="#0072B2", label="kept")
    axis.plot(across[~kept], up[~kept], "x", color="#D55E00", label="removed")
    axis.legend(fontsize=8)
    axis.set_title(f"{found.path}: {found.defense}", fontsize=10)
    return _write(drawing, Path(out))


def _curve(axis: Any, content: RunFile, name: str, key: str, label: str, number: int) -> None:
    """One line with a band of one standard error; gains in percent."""
    table = report.rows(content, name)
    factor = 100 if key == "gain" or report.measure(content) == "test error" else 1
    color, line, marker = report.STYLES[number % len(report.STYLES)]
    x = [100 * row["fraction"] for row in table]
    mean, error = (factor * np.array([row[k] for row in table]) for k in (key, f"{key}_se"))
    axis.plot(x, mean, line, color=color, marker=marker, label=label)
    axis.fill_between(x, mean - error, mean + error, color=color, alpha=0.15, linewidth=0)
    axis.grid(alpha=0.3)


def _points(axis: Any, content: RunFile, prepared: Any, name: str) -> None:
    """Clean and poison rows of the first repetition at the last stage, and the lines learned (one feature)."""
    stage = len(content.poison.counts) - 1
    data, is_poison, _ = poisoned(prepared.split.train, content.poison, stage)
    x, y, bad = data.x[0, :, 0], data.y[0], is_poison[0]
    gone = content.defenses[name].weight[0, stage] == 0
    axis.plot(x[~bad], y[~bad], ".", color="#0072B2", label="clean")
    axis.plot(x[bad], y[bad], ".", color="#009E73", label="poison")
    axis.plot(x[gone], y[gone], "x", color="#D55E00", label=f"removed by {name}")
    ends = np.array([x.min(), x.max()])
    for key, at, style, label in (
        ("none", 0, "k--", "clean rows"),
        ("none", stage, "g:", "all rows"),
        (name, stage, "r-", "rows kept"),
    ):
        params = content.evaluations[key].params
        if len(params) == 1:
            axis.plot(ends, ends * params[0]["w"][0, at, 0, 0] + params[0]["b"][0, at, 0], style, label=label)
    axis.set_xlabel("feature, standardized")
    axis.set_ylabel("target, standardized")
    axis.legend(fontsize=7)


def _axes(panels: int, path: Path) -> tuple[Any, Any]:
    if path.suffix.lower() not in report.FORMATS:
        raise PoisonError(f"{path} has no format that can be drawn: end its name in {', '.join(report.FORMATS)}")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(4.9 * panels, 4.2), layout="constrained")
    FigureCanvasAgg(drawing)
    return drawing, drawing.subplots(1, panels, squeeze=False)[0]


def _write(drawing: Any, path: Path) -> Path:
    replace(path, report.image(drawing, path.suffix.lower()[1:]))
    return path
