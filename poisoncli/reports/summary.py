"""Run files to tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from poisoncli.core.errors import PoisonError
from poisoncli.reports import measures
from poisoncli.runs import defaults, description, serialize
from poisoncli.runs.description import Run
from poisoncli.runs.run_file import RunFile
from poisoncli.training.metrics import Measure
from poisoncli.training.metrics import measure as named_measure


def title(content: RunFile) -> str:
    """What was attacked, in a line: data set, model, and training rows."""
    run = serialize.from_json(content.run)
    classes = run.dataset.options.get("classes", ())
    data = run.dataset.options.get("path", run.dataset.name)
    some = " vs ".join(map(str, classes)) if len(classes) <= 4 else f"{len(classes)} classes"
    pair = f" ({some})" if classes else ""
    return f"{data}{pair}, {run.model.name}, {run.n_train:,} training rows"


def policy(content: RunFile) -> str:
    """The learner's policy for lambda.

    `none`, `fixed`, `clean` (cross-validation), `learned-clean`, `learned`, or `layers` (one for each layer).
    """
    return _policy(serialize.from_json(content.run))


def _policy(run: Run) -> str:
    if run.reg == "none":
        return "none"
    if run.learn_lambda and run.clean_lambda:
        return "learned-clean"
    if run.learn_lambda:
        return "layers" if run.per_layer else "learned"
    return "clean" if run.clean_lambda else "fixed"


def in_words(run: Run) -> str:
    """The penalty and the learner's policy for lambda, in a few words."""
    words = {
        "none": "no penalty",
        "learned": f"{run.reg} penalty, lambda learned",
        "layers": f"{run.reg} penalty, lambda learned for each layer",
        "clean": f"{run.reg} penalty, lambda by cross-validation",
        "learned-clean": f"{run.reg} penalty, lambda learned on clean rows",
        "fixed": f"{run.reg} penalty, lambda = {run.lambda_ or 0:g}",
    }
    return words[_policy(run)]


def label(content: RunFile) -> str:
    """The attack and the learner's policy, in a few words."""
    run = serialize.from_json(content.run)
    return f"{run.attack.name}{_variant(run.attack)}{_aim(run)}, {in_words(run)}"


def labels(contents: Sequence[RunFile]) -> list[str]:
    """The labels of several runs, with the model, the data set or a number where they would be the same."""
    found = [label(content) for content in contents]
    for more in (lambda content: serialize.from_json(content.run).model.name, title):
        if len(set(found)) == len(found):
            return found
        told = [more(content) for content in contents]
        if len(set(told)) > 1:
            found = [f"{name}, {one}" for name, one in zip(told, found, strict=True)]
    if len(set(found)) < len(found):  # runs that differ only in what their labels do not tell
        found = [f"{number}. {one}" for number, one in enumerate(found, 1)]
    return found


def _variant(attack: description.Choice) -> str:
    """What sets an attack apart from others of its name, in brackets."""
    said = [
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, usual in defaults.attack(attack.name).in_label.items()
        if (value := attack.options[name]) != usual
    ]
    return f" ({', '.join(said)})" if said else ""


def _aim(run: description.Run) -> str:
    """Which rows the attack is about, where they are not those that its kind of attack takes by default."""
    made = description.ATTACKS.get(run.attack.name)  # None for one of a plug-in that is not here
    usual = defaults.fields(made).get("target", "") if made else ""
    target, wanted = str(run.attack.options.get("target", "")), run.attack.options.get("target_label")
    if (target == usual and not wanted) or not target:
        return ""
    listed = target.count(",") + 1
    rows = (
        f"{listed} row{'s' if listed > 1 else ''}"
        if target.startswith(("rows:", "places:"))
        else target.replace(":", " ")
    )
    return f" on {rows}" + (f" to {wanted}" if wanted else "")


def rows(content: RunFile, name: str = "none", metric: str = "") -> list[dict[str, Any]]:
    """The table of a run file behind one defense, one mapping for each stage; means over the repetitions.

    Keys: measure (what value is: the test error, the NMSE of real targets, or the metric that was asked for),
    value and value_se, defense, knows (what it was told), poison (rows), fraction (of the
    training rows), repetitions, those of `training.metrics` that the file holds (balanced_error, class_recall,
    auc, log_loss; mae and r2), test_error and val_error (shares in [0, 1], or the NMSE of real targets) with
    standard errors *_se (0 for one repetition), where poison rows were rounded to possible ones
    test_error_relaxed and test_error_rounded (without that, and without the exchange that followed), for a targeted
    attack target_rate (share of its target rows that
    come out as the attacker wants), for a training by chance draw_spread (standard deviation over its draws),
    for a defense also what `_detection` gives, val_loss (nats),
    lambda and log_lambda (lists of one, or one a layer; log_lambda in the papers' scale, lambda the coefficient
    in the mean loss), norm and layer_norm (||w||^2 / d of all parameters, and of each layer), and for linear models
    consistency (Kuncheva's index against the clean victim, for as many features as `selected` says).
    Raises `PoisonError` if the file was not evaluated, or does not hold the metric.
    """
    asked = measure(content, metric)
    values = measures.measured(content, asked, name)
    evaluation, poison = measures.evaluation(content, name), content.poison
    n = serialize.from_json(content.run).n_train
    norm = np.average(evaluation.norm, axis=2, weights=measures.sizes(content))
    selected = measures.selected(content)
    indices = [measures.consistency(content, k, name).mean(axis=0) for k in selected]
    result = []
    for stage, count in enumerate(poison.counts):
        log_lambda = poison.log_lambda[:, stage].astype(float)
        row: dict[str, Any] = {
            "measure": asked.label,
            "defense": name,
            "knows": content.defenses[name].knows if name in content.defenses else "",
            "poison": int(count),
            "fraction": int(count) / n,
            "repetitions": len(log_lambda),
        }
        for key in ("test_error", "val_error"):
            row[key], row[f"{key}_se"] = mean_and_error(getattr(evaluation, key)[:, stage])
        row["value"], row["value_se"] = mean_and_error(values[:, stage])
        row.update(all_measures(content, evaluation.metrics, stage))
        if name in content.defenses:
            row.update(_detection(content, name, stage, asked))
        if evaluation.target_rate.size:
            row["target_rate"], row["target_rate_se"] = mean_and_error(evaluation.target_rate[:, stage])
        if evaluation.draw_spread.size:
            row["draw_spread"] = float(evaluation.draw_spread[:, stage].mean())
        if name == "none" and content.rounding:
            steps = content.rounding["test_error"][:, stage].mean(axis=0)
            row["test_error_relaxed"], row["test_error_rounded"] = (float(value) for value in steps[:2])
        row["val_loss"] = float(evaluation.val_loss[:, stage].mean())
        row["log_lambda"] = [float(value) for value in log_lambda.mean(axis=0)]
        row["lambda"] = [math.exp(value) / n for value in row["log_lambda"]]
        row["norm"] = float(norm[:, stage].mean())
        row["layer_norm"] = [float(value) for value in evaluation.norm[:, stage].mean(axis=0)]
        if selected:
            row["selected"] = list(selected)
            row["consistency"] = [float(index[stage]) for index in indices]
        result.append(row)
    return result


def all_measures(content: RunFile, found: Mapping[str, np.ndarray], stage: int) -> dict[str, Any]:
    """Means over the repetitions of the measures of a stage; recall by the name of the class."""
    result: dict[str, Any] = {}
    for key, values in found.items():
        if key == "recall":
            each = (mean_and_error(values[:, stage, c])[0] for c in range(len(content.classes)))
            result["class_recall"] = dict(zip(content.classes, each, strict=True))
        else:
            result[key] = mean_and_error(values[:, stage])[0]
    return result


def all_rows(content: RunFile, metric: str = "") -> list[dict[str, Any]]:
    """`rows` without a defense, followed by those behind each defense that was evaluated."""
    return [
        row
        for name in ("none", *content.defenses)
        if name in content.evaluations
        for row in rows(content, name, metric)
    ]


def spoken_of(table: Sequence[dict[str, Any]], at: float | None, names: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of `all_rows` that a threshold is about: nearest to a fraction of poison, behind some defenses.

    at: the fraction; None means all. names: of defenses, `none` without one, `all` those that were tried; empty
    means all rows.
    """
    distances = [abs(row["fraction"] - (row["fraction"] if at is None else at)) for row in table]
    behind = [
        not names or row["defense"] in names or ("all" in names and row["defense"] != "none") for row in table
    ]
    nearest = min(distances)
    return [row for row, far, asked in zip(table, distances, behind, strict=True) if asked and far <= nearest]


def add_decreases(contents: Sequence[RunFile], tables: Sequence[list[dict[str, Any]]]) -> None:
    """Add to the rows of regularized runs what their penalty takes from the test error (HLP V-B-2).

    Keys: decrease (share of the test error without a penalty; NaN where that is 0) and decrease_se, for each run
    that stands beside one without a penalty on the same data.
    """
    for content, table in zip(contents, tables, strict=True):
        bare = measures.reference(content, list(contents))
        if bare is None:
            continue
        shares = measures.decrease(content, bare)
        for stage, row in enumerate(row for row in table if row["defense"] == "none"):
            row["decrease"], row["decrease_se"] = mean_and_error(shares[:, stage])


def _detection(content: RunFile, name: str, stage: int, asked: Measure) -> dict[str, float]:
    """What a defense removed at a stage, and what that was worth; means over the repetitions, NaN where undefined.

    gain: share of the undefended test error that it takes away (SPR eq. 8), or of what an AUC or recall lacks to 1;
    negative where it harms, with its standard error; removed: share of all rows; precision:
    share of poison among the rows removed; recall: share of the poison removed; clean_removed: share of the
    clean rows removed. A row of weight w counts as 1 - w.
    """
    caught, total, rows, count = _removed(content, name, stage)
    with np.errstate(divide="ignore", invalid="ignore"):
        without, behind = (measures.measured(content, asked, key)[:, stage] for key in ("none", name))
        if asked.metric.high:
            without, behind = 1 - without, 1 - behind
        gains = np.where(without > 0, 1 - behind / without, np.nan)
        gain, error = mean_and_error(gains)
        return {
            "gain": gain,
            "gain_se": error,
            "removed": float(total.mean()) / rows,
            "precision": float(caught.sum() / total.sum()),
            "recall": float(np.mean(caught / count)),
            "clean_removed": float(np.mean((total - caught) / (rows - count))),
        }


def removals(content: RunFile, name: str) -> dict[str, np.ndarray]:
    """Shares of the rows, of the poison and of the clean rows that a defense removes [repetitions, stages].

    NaN where there is no poison to remove.
    """
    each = [_removed(content, name, stage) for stage in range(len(content.poison.counts))]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {
            "removed": [total / rows for _, total, rows, _ in each],
            "poison_removed": [caught / count for caught, _, _, count in each],
            "clean_removed": [(total - caught) / (rows - count) for caught, total, rows, count in each],
        }
    return {key: np.stack(values, axis=1) for key, values in found.items()}


def _removed(content: RunFile, name: str, stage: int) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Poison rows and rows that a defense removes at a stage [repetitions], all rows there, poison rows there."""
    away = 1 - content.defenses[name].weight[:, stage].astype(float)
    poison = np.zeros(away.shape)
    count = int(content.poison.counts[stage])
    if content.poison.replaced.size and content.poison.replaced[0, 0] < 0:  # added behind the training rows
        points = content.poison.y.shape[1]
        away = away[:, : away.shape[1] - points + count]
        poison = poison[:, : away.shape[1]]
        poison[:, away.shape[1] - count :] = 1
    else:
        np.put_along_axis(poison, content.poison.replaced[:, :count], 1, axis=1)
    return (away * poison).sum(1), away.sum(1), away.shape[1], count


def measure(content: RunFile, metric: str = "") -> Measure:
    """What the tables of a run speak of: test error, NMSE of real targets, or a metric that is asked for."""
    found = named_measure(metric, content.real)
    if found.of_class and content.classes and found.of_class not in content.classes:
        raise PoisonError(f"--metric {metric}: there is no such class, choose of {', '.join(content.classes)}")
    return found


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Mean of `values` [repetitions] and its standard error, 0 for a single one; of those that are not NaN."""
    values = np.asarray(values, float)
    values = values[~np.isnan(values)] if not np.all(np.isnan(values)) else values[:1]
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return float(values.mean()), float(error)
