"""The whole answer on one page: what poison does to the model, and what helps, as tables, sentences, a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from poisoncli.reports import figures, measures, summary, transfer
from poisoncli.reports.panels import STYLES
from poisoncli.reports.tables import Row, Table, percent, share
from poisoncli.runs import run_file, serialize
from poisoncli.runs.audit import Audit
from poisoncli.training.metrics import is_high

NOTHING, LEARNED, FLIPS = "nothing", "learned lambda", "random label flips"


def damage(found: Audit, metric: str = "") -> dict[str, list[Row]]:
    """What poison does without a defense: rows at every fraction (`summary.rows`), by what is trained on what.

    The surrogate first, then the user's own victims, and the surrogate on random label flips.
    """
    content = found.attack
    lines = {serialize.from_json(content.run).model.name: summary.rows(content, metric=metric)}
    for row in transfer.rows(content, metric):
        if row["defense"] == "none":
            lines.setdefault(row["victim"], []).append(row)
    if found.flips is not None:
        lines[FLIPS] = summary.rows(found.flips, metric=metric)
    return lines


def answers(found: Audit, metric: str = "") -> dict[str, list[Row]]:
    """What the surrogate does at every fraction without a defense, behind each, and with a learned lambda."""
    content = found.attack
    lines = {NOTHING: summary.rows(content, metric=metric)}
    if found.learned is not None:
        lines[LEARNED] = summary.rows(found.learned, metric=metric)
    for name in content.defenses:
        lines[name] = summary.rows(content, name, metric)
    return lines


def helps(found: Audit, metric: str = "") -> list[dict[str, Any]]:
    """What each answer is worth at the largest fraction of poison, the best first.

    Keys: what, clean and poisoned (rows of `summary.rows` without poison, and with most of it), and victims: what
    the defense leaves of those from outside, by name, as rows of `transfer.rows`.
    """
    others = transfer.rows(found.attack, metric)
    most = max(int(count) for count in found.attack.poison.counts)
    result = []
    for name, rows in answers(found, metric).items():
        behind = "none" if name == NOTHING else name
        own = {row["victim"]: row for row in others if row["defense"] == behind and row["poison"] == most}
        result.append({"what": name, "clean": rows[0], "poisoned": rows[-1], "victims": own})
    sign = -1 if is_high(result[0]["poisoned"]["measure"]) else 1
    return sorted(result, key=lambda one: sign * one["poisoned"]["value"])


def says(found: Audit, metric: str = "") -> list[str]:
    """The answer in sentences."""
    every = helps(found, metric)
    bare = next(one for one in every if one["what"] == NOTHING)
    clean, poisoned = bare["clean"], bare["poisoned"]
    most, what = f"{poisoned['fraction']:.1%} poison", poisoned["measure"]
    first, more = f"{most} takes the {what} from {percent(clean)} to {percent(poisoned)}", []
    if found.flips is not None:
        flipped = summary.rows(found.flips, metric=metric)[-1]
        first += f"; {FLIPS} of the same number to {percent(flipped)}"
        if (flipped["value"] - poisoned["value"]) * (-1 if is_high(what) else 1) > 0:
            more = [
                "flips do more here than the crafted poison, so the damage is theirs: try -o outer_steps= for more"
            ]
    before = {name: rows[0] for name, rows in damage(found, metric).items()}
    for name, row in bare["victims"].items():
        first += f"; that of {name} from {percent(before[name])} to {percent(row)}"
    best = every[0]
    if best is bare or best["poisoned"]["value"] == poisoned["value"]:
        return [first, *more, "nothing of what was tried helps"]
    left, cost = percent(best["poisoned"]), percent(best["clean"])
    second = f"what helps most is {best['what']}: {left}, and {cost} without poison"
    told = best["poisoned"]["knows"] if best["what"] != LEARNED else "trusted validation rows"
    return [first, *more, second if told in ("", "nothing") else f"{second} (it was told {told})"]


def tables(found: Audit, metric: str = "") -> list[Table]:
    """How much damage, at every fraction; and what helps, at the largest."""
    lines, content = damage(found, metric), found.attack
    heading = f"{summary.title(content)}\n{summary.label(content)}"
    first = next(iter(lines.values()))
    columns = [f"{next(iter(lines))} (surrogate)", *list(lines)[1:]]
    cells = [{row["poison"]: percent(row) for row in rows} for rows in lines.values()]
    shown = [
        [f"{row['fraction']:.1%}", str(row["poison"]), *(part.get(row["poison"], "") for part in cells)]
        for row in first
    ]
    every = helps(found, metric)
    victims = list(next(one["victims"] for one in every if one["what"] == NOTHING))
    rows = []
    for one in every:
        poisoned = one["poisoned"]
        caught = [share(poisoned[key]) if key in poisoned else "" for key in ("recall", "clean_removed")]
        own = [percent(one["victims"][name]) if name in one["victims"] else "" for name in victims]
        rows.append([one["what"], percent(one["clean"]), percent(poisoned), *own, *caught, poisoned["knows"]])
    fraction = first[-1]["fraction"]
    return [
        Table(f"How much damage: {first[0]['measure']}\n{heading}", ["poison", "rows", *columns], shown),
        Table(
            f"What helps at {fraction:.1%} poison: {first[0]['measure']}",
            ["what", "no poison", "poison", *victims, "poison removed", "clean removed", "was told"],
            rows,
        ),
    ]


def draw(found: Audit, out: str | Path, *, metric: str = "") -> Path:
    """Draw both against the fraction of poison, a panel each."""
    figures.check_format(Path(out))
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    content = found.attack
    asked = measures.shown(content, f"metric:{metric}" if metric else "test_error")
    drawing = Figure(figsize=(10, 4.6), layout="constrained")
    FigureCanvasAgg(drawing)
    panels = (("How much damage", damage(found, metric)), ("What helps", answers(found, metric)))
    for axis, (title, lines) in zip(drawing.subplots(1, 2, sharey=True), panels, strict=True):
        for number, (name, rows) in enumerate(lines.items()):
            _line(axis, name, rows, number, asked.factor)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("poison (% of the training rows)")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
        if title == panels[0][0]:
            axis.set_ylabel(asked.label)
    drawing.suptitle(f"{summary.title(content)}\n{summary.label(content)}", fontsize=10)
    run_file.replace(Path(out), figures.image(drawing, Path(out).suffix.lower()[1:]))
    return Path(out)


def _line(axis: Any, name: str, rows: Sequence[Row], number: int, factor: float) -> None:
    color, line, marker = ("black", "-", "o") if number == 0 else STYLES[(number - 1) % len(STYLES)]
    x = [100 * row["fraction"] for row in rows]
    mean, error = (factor * np.array([row[key] for row in rows]) for key in ("value", "value_se"))
    axis.fill_between(x, mean - error, mean + error, color=color, alpha=0.15, linewidth=0)
    axis.plot(x, mean, line, color=color, marker=marker, markersize=4.5, label=name)
