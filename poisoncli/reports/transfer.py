"""Transfer: what poison made for the surrogate does to victims from outside, as rows, a table and a figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from poisoncli.core.errors import PoisonError
from poisoncli.reports import figures, measures, summary
from poisoncli.reports.panels import STYLES
from poisoncli.reports.tables import Row, Table, percent
from poisoncli.runs import run_file, serialize
from poisoncli.runs.measured import Measured
from poisoncli.runs.run_file import RunFile

MOST_COLUMNS = 3  # panels beside each other


def names(content: RunFile) -> list[str]:
    """What the victims of a run file are called: by their names, with their options where two have the same."""
    short = [one.name for one in content.victims]
    with_options = [_with_options(one) for one in content.victims]
    full = [f"{one.source} {one.options}" for one in content.victims]
    return [
        next((name for name, every in chosen if every.count(name) == 1), full[number])
        for number, chosen in enumerate(
            [(short[i], short), (with_options[i], with_options)] for i in range(len(short))
        )
    ]


def _with_options(one: Measured) -> str:
    said = ", ".join(f"{name}={value}" for name, value in json.loads(one.options).items())
    return f"{one.name}({said})"


def rows(content: RunFile, metric: str = "") -> list[dict[str, Any]]:
    """The table of the victims from outside, one mapping for each victim, defense and stage.

    Keys: victim, source, options, seed (of each repetition), and defense, poison, fraction, repetitions, measure,
    value, value_se and all measures as in `summary.rows`; test_error is the error, or the NMSE of real targets.
    """
    asked, n = summary.measure(content, metric), serialize.from_json(content.run).n_train
    result = []
    for name, victim in zip(names(content), content.victims, strict=True):
        about = {
            "victim": name,
            "source": victim.source,
            "options": json.loads(victim.options),
            "seed": list(victim.seeds),
        }
        for defense in ("none", *content.defenses):
            if defense not in victim.measures:
                continue
            found = victim.measures[defense]
            values = measures.of_class(content, asked, found)
            for stage, count in enumerate(content.poison.counts):
                row = {**about, "defense": defense, "poison": int(count), "fraction": int(count) / n}
                row |= {"repetitions": len(values), "measure": asked.label}
                row["value"], row["value_se"] = _mean(values[:, stage])
                every = summary.all_measures(content, found, stage)
                row["test_error"] = every.pop("nmse" if content.real else "error")
                result.append({**row, **every})
    return result


def _mean(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard error; NaN where a training failed."""
    return (float("nan"), 0.0) if np.isnan(values).any() else summary.mean_and_error(values)


def table(content: RunFile, own: Sequence[Row], found: Sequence[Row]) -> Table:
    """The surrogate beside the victims, a line for each defense and fraction of poison.

    own: of `summary.all_rows`, found: of `rows`.
    """
    run = serialize.from_json(content.run)
    columns = {f"{run.model.name} (surrogate)": list(own)}
    for row in found:
        columns.setdefault(row["victim"], []).append(row)
    cells = {
        name: {(row["defense"], row["poison"]): percent(row) for row in part} for name, part in columns.items()
    }
    lines = []
    for row in own:
        place = (row["defense"], row["poison"])
        shown = row["defense"] if row["poison"] == 0 else ""
        lines.append([shown, f"{row['fraction']:.1%}", *(part.get(place, "") for part in cells.values())])
    title = f"Transfer: {own[0]['measure']} of each victim\n{summary.title(content)}; {summary.label(content)}"
    return Table(title, ["defense", "poison", *columns], lines)


def draw(content: RunFile, out: str | Path, *, metric: str = "") -> Path:
    """Draw surrogate and victims against the fraction of poison, a panel for each defense."""
    figures.check_format(Path(out))
    if not content.victims:
        raise PoisonError("the run file holds no victims: run `poison evaluate --victim` on it first")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines: dict[str, list[Row]] = {"surrogate": summary.all_rows(content, metric)}
    for row in rows(content, metric):
        lines.setdefault(row["victim"], []).append(row)
    panels = list(dict.fromkeys(row["defense"] for part in lines.values() for row in part))
    columns = min(len(panels), MOST_COLUMNS)
    shape = (-(-len(panels) // columns), columns)
    drawing = Figure(figsize=(4.4 * shape[1], 3.3 * shape[0] + 0.9), layout="constrained")
    FigureCanvasAgg(drawing)
    shown, asked = {}, measures.shown(content, f"metric:{metric}" if metric else "test_error")
    axes = drawing.subplots(*shape, squeeze=False, sharey=True)
    for axis, panel in zip(axes.flat, panels, strict=False):
        for number, (name, part) in enumerate(lines.items()):
            shown.update(_line(axis, name, [row for row in part if row["defense"] == panel], number, asked.factor))
        axis.set_title("no defense" if panel == "none" else f"behind {panel}", fontsize=10)
        axis.set_xlabel("poison (% of the training rows)")
        axis.grid(alpha=0.3)
    for axis in list(axes.flat)[len(panels) :]:
        axis.set_axis_off()
    axes[0, 0].set_ylabel(asked.label)
    drawing.suptitle(f"{summary.title(content)}\n{summary.label(content)}", fontsize=10)
    drawing.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=columns, fontsize=8)
    run_file.replace(Path(out), figures.image(drawing, Path(out).suffix.lower()[1:]))
    return Path(out)


def _line(axis: Any, name: str, part: Sequence[Row], number: int, factor: float) -> dict[str, Any]:
    color, line, marker = ("black", "-", "o") if number == 0 else STYLES[(number - 1) % len(STYLES)]
    x = [100 * row["fraction"] for row in part]
    mean, error = (factor * np.array([row[key] for row in part]) for key in ("value", "value_se"))
    axis.fill_between(x, mean - error, mean + error, color=color, alpha=0.15, linewidth=0)
    return {name: axis.plot(x, mean, line, color=color, marker=marker, markersize=4.5)[0]}
