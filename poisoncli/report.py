"""Run files to tables and figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from poisoncli import config, store
from poisoncli.core.types import PoisonError
from poisoncli.store import RunFile

FORMATS = (".png", ".pdf", ".svg")
QUANTITIES = {  # what it is called on an axis, and the factor to the axis' unit
    "test_error": ("test error (%)", 100),
    "val_loss": ("validation loss (nats)", 1),
    "log_lambda": ("log_lambda = log(n lambda)", 1),
    "norm": ("||w||^2 / d", 1),
}
# Okabe and Ito's colors, which color-blind readers tell apart, each with a line and a marker of its own
STYLES = [
    ("#0072B2", "-", "o"),
    ("#D55E00", "--", "s"),
    ("#009E73", "-.", "^"),
    ("#CC79A7", ":", "D"),
    ("#E69F00", "-", "v"),
    ("#56B4E9", "--", "P"),
    ("#000000", "-.", "X"),
]


def title(content: RunFile) -> str:
    """What was attacked, in a line: data set, model, and training rows."""
    run = config.from_json(content.run)
    classes = run.dataset.options.get("classes", ())
    data = run.dataset.options["path"] if run.dataset.name == "file" else run.dataset.name
    pair = f" ({' vs '.join(map(str, classes))})" if classes else ""
    return f"{data}{pair}, {run.model.name}, {run.n_train:,} training rows"


def label(content: RunFile) -> str:
    """The attack and the learner's policy, in a few words."""
    run = config.from_json(content.run)
    if run.reg == "none":
        policy = "no penalty"
    elif run.learn_lambda:
        policy = f"{run.reg}, lambda learned" + (" for each layer" if run.per_layer else "")
    elif run.clean_lambda:
        policy = f"{run.reg}, lambda by cross-validation"
    else:
        policy = f"{run.reg}, lambda = {run.lambda_:g}"
    return f"{run.attack.name}{_variant(run.attack)}: {policy}"


def _variant(attack: config.Choice) -> str:
    """What sets an attack apart from others of its name, in brackets."""
    normalize = attack.options.get("normalize", "point")
    if "alpha" in attack.options:
        return f" (alpha={attack.options['alpha']:g}" + (", normalize=none)" if normalize == "none" else ")")
    return "" if normalize == "point" else f" (normalize={normalize})"


def rows(content: RunFile, name: str = "none") -> list[dict[str, Any]]:
    """The table of a run file behind one defense, one mapping for each stage; means over the repetitions.

    Keys: measure (what test_error is), defense, knows (what it was told), poison (rows), fraction (of the
    training rows), repetitions, test_error and val_error (shares in [0, 1], or the NMSE of real targets) with
    standard errors *_se (0 for one repetition), for a defense also what `_detection` gives, val_loss (nats),
    lambda and log_lambda (lists of one, or one a layer; log_lambda in the papers' scale, lambda the coefficient
    in the mean loss), norm (||w||^2 / d of all parameters). Raises `PoisonError` if the file was not evaluated.
    """
    if name not in content.evaluations:
        raise PoisonError("the run file holds no evaluation: run `poison evaluate` on it first")
    evaluation, poison = content.evaluations[name], content.poison
    n = config.from_json(content.run).n_train
    norm = np.average(evaluation.norm, axis=2, weights=_sizes(content))
    result = []
    for stage, count in enumerate(poison.counts):
        log_lambda = poison.log_lambda[:, stage].astype(float)
        row: dict[str, Any] = {
            "measure": measure(content),
            "defense": name,
            "knows": content.defenses[name].knows if name in content.defenses else "",
            "poison": int(count),
            "fraction": int(count) / n,
            "repetitions": len(log_lambda),
        }
        for key in ("test_error", "val_error"):
            row[key], row[f"{key}_se"] = mean_and_error(getattr(evaluation, key)[:, stage])
        if name in content.defenses:
            row.update(_detection(content, name, stage))
        row["val_loss"] = float(evaluation.val_loss[:, stage].mean())
        row["log_lambda"] = [float(value) for value in log_lambda.mean(axis=0)]
        row["lambda"] = [math.exp(value) / n for value in row["log_lambda"]]
        row["norm"] = float(norm[:, stage].mean())
        result.append(row)
    return result


def all_rows(content: RunFile) -> list[dict[str, Any]]:
    """`rows` without a defense, followed by those behind each defense that was evaluated."""
    return [
        row for name in ("none", *content.defenses) if name in content.evaluations for row in rows(content, name)
    ]


def _detection(content: RunFile, name: str, stage: int) -> dict[str, float]:
    """What a defense removed at a stage, and what that was worth; means over the repetitions, NaN where undefined.

    gain: share of the undefended test error that it takes away (SPR eq. 8), negative where it harms, with its
    standard error; removed: share of all rows; precision: share of poison among the rows removed; recall: share
    of the poison removed; clean_removed: share of the clean rows removed. A row of weight w counts as 1 - w.
    """
    away = 1 - content.defenses[name].weight[:, stage].astype(float)
    poison = np.zeros(away.shape)
    np.put_along_axis(poison, content.poison.replaced[:, : content.poison.counts[stage]], 1, axis=1)
    caught, total = (away * poison).sum(1), away.sum(1)
    count = int(content.poison.counts[stage])
    with np.errstate(divide="ignore", invalid="ignore"):
        without, behind = (content.evaluations[key].test_error[:, stage].astype(float) for key in ("none", name))
        gains = np.where(without > 0, 1 - behind / without, np.nan)
        gain, error = mean_and_error(gains)
        return {
            "gain": gain,
            "gain_se": error,
            "removed": float(total.mean()) / away.shape[1],
            "precision": float(caught.sum() / total.sum()),
            "recall": float(np.mean(caught / count)),
            "clean_removed": float(np.mean((total - caught) / (away.shape[1] - count))),
        }


def measure(content: RunFile) -> str:
    """What `test_error` is: the share of wrong test rows, or the NMSE of real targets."""
    return "test NMSE" if np.ndim(content.scaler["y_scale"]) else "test error"


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Mean of `values` [repetitions] and its standard error, 0 for a single one."""
    values = np.asarray(values, float)
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return float(values.mean()), float(error)


def figure(contents: Sequence[RunFile], out: str | Path) -> Path:
    """Draw test error and lambda against the fraction of poison, a line for each run file, with error bands.

    out: ends in .png, .pdf or .svg. Bands are one standard error over the repetitions. Raises `PoisonError`
    for another format, or a file that was not evaluated.
    """
    titles = {title(content) for content in contents}
    heading = titles.pop() if len(titles) == 1 else "several data sets or models"
    with_lambda = any(np.isfinite(content.poison.log_lambda).all() for content in contents)
    lines = {label(content): content for content in contents}
    if len(lines) < len(contents):  # runs that differ only in what their labels do not tell
        lines = {f"{number}. {label(content)}": content for number, content in enumerate(contents, 1)}
    quantities = ("test_error", "log_lambda") if with_lambda else ("test_error",)
    return _draw({"": lines}, quantities, heading, Path(out), across="quantities")


def grid(panels: Mapping[str, Mapping[str, RunFile]], draw: Sequence[str], heading: str, out: str | Path) -> Path:
    """Draw a sweep: a column for each panel, a row for each quantity of `draw`, a line for each run.

    panels: run files by panel and line; the same line has the same color everywhere. draw: of `test_error`,
    `val_loss`, `log_lambda` and `norm`. Raises `PoisonError` as `figure` does, and for another quantity.
    """
    for name in draw:
        if name not in QUANTITIES:
            raise PoisonError(f"{name!r} cannot be drawn: draw one of {', '.join(QUANTITIES)}")
    return _draw(panels, draw, heading, Path(out), across="panels")


def check_format(path: Path) -> None:
    """Raise `PoisonError` unless the end of the name tells a format that can be drawn."""
    if path.suffix.lower() not in FORMATS:
        raise PoisonError(f"{path} has no format that can be drawn: end its name in {', '.join(FORMATS)}")


def _draw(
    panels: Mapping[str, Mapping[str, RunFile]], draw: Sequence[str], heading: str, path: Path, across: str
) -> Path:
    check_format(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shape = (1, len(draw)) if across == "quantities" else (len(draw), len(panels))
    drawing = Figure(figsize=(4.9 * shape[1], 3.6 * shape[0] + 0.4), layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.subplots(*shape, squeeze=False).reshape(len(draw), -1)
    styles = {line: number for number, line in enumerate(dict.fromkeys(n for p in panels.values() for n in p))}
    for column, (panel, lines) in enumerate(panels.items()):
        for quantity, axis in zip(draw, axes[:, column], strict=True):
            for name, content in lines.items():
                _draw_line(axis, quantity, styles[name], name, content)
            _finish(axis, quantity, panel)
    drawing.suptitle(heading, fontsize=11)
    store.replace(path, image(drawing, path.suffix.lower()[1:]))
    return path


def _draw_line(axis: Any, quantity: str, number: int, name: str, content: RunFile) -> None:
    """Mean and standard error of a quantity at each stage; one line, or one for each layer."""
    factor, values = QUANTITIES[quantity][1], _values(quantity, content)
    if not np.isfinite(values).all():
        return  # no penalty has no lambda to draw
    x = 100 * content.poison.counts / config.from_json(content.run).n_train
    layers = values.shape[2]
    for layer in range(layers):
        color, line, marker = STYLES[(number + layer) % len(STYLES)]
        spread = np.array([mean_and_error(factor * values[:, s, layer]) for s in range(values.shape[1])])
        mean, error = spread[:, 0], spread[:, 1]
        label = f"{name}, layer {layer + 1}" if layers > 1 else name
        axis.plot(x, mean, line, color=color, marker=marker, label=label)
        axis.fill_between(x, mean - error, mean + error, color=color, alpha=0.2, linewidth=0)


def _values(quantity: str, content: RunFile) -> np.ndarray:
    """A quantity [repetitions, stages, lines]."""
    if quantity == "log_lambda":
        return content.poison.log_lambda.astype(float)
    rows(content)  # refuses a file that was not evaluated
    evaluation = content.evaluations["none"]
    if quantity == "norm":
        return np.average(evaluation.norm, axis=2, weights=_sizes(content))[:, :, None]
    return np.asarray(getattr(evaluation, quantity), float)[:, :, None]


def _sizes(content: RunFile) -> list[int]:
    """Parameters in each layer."""
    params = content.evaluations["none"].params
    return [sum(leaf[0, 0].size for leaf in layer.values()) for layer in params]


def _finish(axis: Any, quantity: str, panel: str) -> None:
    axis.set_title(panel, fontsize=10)
    axis.set_xlabel("poison (% of the training rows)")
    axis.set_ylabel(QUANTITIES[quantity][0])
    axis.grid(alpha=0.3)
    if quantity == "test_error":
        axis.set_ylim(bottom=0)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=8)


def image(drawing: Any, kind: str) -> bytes:
    """The drawing as a file of a kind such as png."""
    import io

    buffer = io.BytesIO()
    drawing.savefig(buffer, format=kind, dpi=150)
    return buffer.getvalue()
