"""Run files to tables and figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from poisoncli import config, store
from poisoncli.core.types import PoisonError
from poisoncli.store import RunFile

FORMATS = (".png", ".pdf", ".svg")
# Okabe and Ito's colors, which color-blind readers tell apart, each with a line and a marker of its own
_STYLES = [
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
    else:
        policy = f"{run.reg}, lambda = {run.lambda_:g}"
    normalize = run.attack.options.get("normalize", "point")
    variant = "" if normalize == "point" else f" (normalize={normalize})"
    return f"{run.attack.name}{variant}: {policy}"


def rows(content: RunFile, name: str = "none") -> list[dict[str, Any]]:
    """The table of a run file, one mapping for each stage; means over the repetitions.

    Keys: poison (rows), fraction (of the training rows), repetitions, test_error and val_error (in [0, 1])
    with standard errors *_se (0 for one repetition), val_loss (nats), lambda and log_lambda (lists of one, or
    one a layer; log_lambda in the papers' scale, lambda the coefficient in the mean loss), norm
    (||w||^2 / d of all parameters). Raises `PoisonError` if the file was not evaluated.
    """
    if name not in content.evaluations:
        raise PoisonError("the run file holds no evaluation: run `poison evaluate` on it first")
    evaluation, poison = content.evaluations[name], content.poison
    n = config.from_json(content.run).n_train
    sizes = [sum(leaf[0, 0].size for leaf in layer.values()) for layer in evaluation.params]
    norm = np.average(evaluation.norm, axis=2, weights=sizes)
    result = []
    for stage, count in enumerate(poison.counts):
        log_lambda = poison.log_lambda[:, stage].astype(float)
        row: dict[str, Any] = {"poison": int(count), "fraction": int(count) / n, "repetitions": len(log_lambda)}
        for key in ("test_error", "val_error"):
            row[key], row[f"{key}_se"] = mean_and_error(getattr(evaluation, key)[:, stage])
        row["val_loss"] = float(evaluation.val_loss[:, stage].mean())
        row["log_lambda"] = [float(value) for value in log_lambda.mean(axis=0)]
        row["lambda"] = [math.exp(value) / n for value in row["log_lambda"]]
        row["norm"] = float(norm[:, stage].mean())
        result.append(row)
    return result


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
    path = Path(out)
    if path.suffix.lower() not in FORMATS:
        raise PoisonError(f"{path} has no format that can be drawn: end its name in {', '.join(FORMATS)}")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tables = [rows(content) for content in contents]
    with_lambda = [
        (number, content) for number, content in enumerate(contents) if np.isfinite(content.poison.log_lambda).any()
    ]
    panels = 2 if with_lambda else 1
    drawing = Figure(figsize=(5.2 * panels, 4.0), layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.subplots(1, panels, squeeze=False)[0]
    for number, (content, table) in enumerate(zip(contents, tables, strict=True)):
        _draw_error(axes[0], number, label(content), table)
    for number, content in with_lambda:
        _draw_lambda(axes[1], number, content, several=len(contents) > 1)
    titles = {title(content) for content in contents}
    drawing.suptitle(titles.pop() if len(titles) == 1 else "several data sets or models", fontsize=11)
    for axis in axes:
        axis.set_xlabel("poison (% of the training rows)")
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8)
    axes[0].set_ylabel("test error (%)")
    axes[0].set_ylim(bottom=0)
    store.replace(path, _image(drawing, path.suffix.lower()[1:]))
    return path


def _draw_error(axis: Any, number: int, name: str, table: list[dict[str, Any]]) -> None:
    color, line, marker = _STYLES[number % len(_STYLES)]
    x = [100 * row["fraction"] for row in table]
    mean = np.array([100 * row["test_error"] for row in table])
    error = np.array([100 * row["test_error_se"] for row in table])
    axis.plot(x, mean, line, color=color, marker=marker, label=name)
    axis.fill_between(x, mean - error, mean + error, color=color, alpha=0.2, linewidth=0)


def _draw_lambda(axis: Any, number: int, content: RunFile, several: bool) -> None:
    """log_lambda in the papers' scale; one line, or one for each layer."""
    poison = content.poison
    x = 100 * poison.counts / config.from_json(content.run).n_train
    layers = poison.log_lambda.shape[2]
    for layer in range(layers):
        color, line, marker = _STYLES[(number if layers == 1 else number + layer) % len(_STYLES)]
        drawn = poison.log_lambda[:, :, layer].astype(float)
        spread = np.array([mean_and_error(drawn[:, stage]) for stage in range(drawn.shape[1])])
        mean, error = spread[:, 0], spread[:, 1]
        names = ([label(content)] if several else []) + ([f"layer {layer + 1}"] if layers > 1 else [])
        axis.plot(x, mean, line, color=color, marker=marker, label=", ".join(names) or None)
        axis.fill_between(x, mean - error, mean + error, color=color, alpha=0.2, linewidth=0)
    axis.set_ylabel("log_lambda = log(n lambda)")


def _image(drawing: Any, kind: str) -> bytes:
    import io

    buffer = io.BytesIO()
    drawing.savefig(buffer, format=kind, dpi=150)
    return buffer.getvalue()
