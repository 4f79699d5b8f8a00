"""What a trained victim is worth on its test rows, by the functions of scikit-learn."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from poisoncli.core.data import Array
from poisoncli.core.errors import PoisonError


class Metric(NamedTuple):
    """A measure of the test rows: its label, whether of real targets, a share, better where it is high."""

    label: str
    real: bool = False
    share: bool = True
    high: bool = False


METRICS: dict[str, Metric] = {
    "error": Metric("test error"),
    "balanced_error": Metric("balanced error"),
    "recall": Metric("recall", high=True),
    "auc": Metric("AUC", share=False, high=True),
    "log_loss": Metric("log loss", share=False),
    "nmse": Metric("test NMSE", real=True, share=False),
    "mae": Metric("mean absolute error", real=True, share=False),
    "r2": Metric("R²", real=True, share=False, high=True),
}


class Measure(NamedTuple):
    """A metric that was asked for: its key in `METRICS`, and of `recall` the class, empty for the worst of them."""

    key: str
    label: str
    of_class: str = ""

    @property
    def metric(self) -> Metric:
        return METRICS[self.key]


def measure(asked: str, real: bool) -> Measure:
    """The measure that a user asks for, such as `auc` or `recall:spam`; empty for the error, or the NMSE.

    Raises `PoisonError` where there is none of that name for these targets.
    """
    name, colon, of_class = asked.partition(":")
    key = name.replace("-", "_") or ("nmse" if real else "error")
    able = [one.replace("_", "-") for one, metric in METRICS.items() if metric.real == real]
    if key not in METRICS or METRICS[key].real != real or (colon and (key != "recall" or not of_class)):
        kind = "real targets" if real else "classes"
        raise PoisonError(
            f"--metric {asked} is no measure of {kind}: choose one of {', '.join(able)}, recall:CLASS"
        )
    label = METRICS[key].label
    if key == "recall":
        label = f"recall of {of_class}" if of_class else "least recall"
    return Measure(key, label, of_class)


def is_share(label: str) -> bool:
    """Whether a measure of that label is a share, which people read in percent."""
    return _labeled(label).share


def is_high(label: str) -> bool:
    """Whether a measure of that label is better where it is high."""
    return _labeled(label).high


def _labeled(label: str) -> Metric:
    found = (metric for metric in METRICS.values() if metric.label == label)
    return next(found, METRICS["recall"])  # `least recall`, `recall of spam`


def of_classes(
    y: Array, predicted: Array, k: int, scores: Array | None = None, probability: Array | None = None
) -> dict[str, np.ndarray]:
    """Measures of k classes; recall is [k], the others numbers, NaN where they are not defined.

    y, predicted: class numbers [n]. scores: higher for the second class [n], or of each class [n, k]; probability:
    of each class [n, k].
    """
    from sklearn.metrics import log_loss, recall_score

    y, classes = np.asarray(y, int), np.arange(k)
    undefined: Any = {"average": None, "zero_division": np.nan}  # as scikit-learn takes it, whatever its types say
    recall = recall_score(y, predicted, labels=classes, **undefined)
    loss = np.nan if probability is None else log_loss(y, np.asarray(probability, float), labels=classes)
    found = {
        "error": np.mean(y != predicted),
        "balanced_error": 1 - np.nanmean(recall),
        "recall": recall,
        "auc": _auc(y, scores, k),
        "log_loss": loss,
    }
    return {name: np.asarray(value, float) for name, value in found.items()}


def _auc(y: np.ndarray, scores: Array | None, k: int) -> float:
    """The area under the ROC curve; of more than two classes the mean over each class against the rest."""
    from sklearn.metrics import roc_auc_score

    if scores is None or not np.all(np.isfinite(scores)):
        return np.nan
    scores = np.asarray(scores, float)
    if k == 2:
        second = scores if scores.ndim == 1 else scores[:, 1] - scores[:, 0]
        return float(roc_auc_score(y, second)) if 0 < np.sum(y) < len(y) else np.nan
    each = [float(roc_auc_score(y == c, scores[:, c])) for c in range(k) if 0 < np.sum(y == c) < len(y)]
    return float(np.mean(each)) if each else np.nan


def of_reals(y: Array, predicted: Array, shift: float, scale: float) -> dict[str, np.ndarray]:
    """Measures of real targets y [n] in the user's units; shift, scale: of the run's, in which the NMSE is."""
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    y, predicted = np.asarray(y, float), np.asarray(predicted, float)
    if not np.all(np.isfinite(predicted)):
        return {name: np.asarray(np.nan) for name in ("nmse", "mae", "r2")}
    mean_square = np.mean(((y - shift) / scale) ** 2)
    found = {
        "nmse": mean_squared_error(y / scale, predicted / scale) / mean_square if mean_square else np.nan,
        "mae": mean_absolute_error(y, predicted),
        "r2": r2_score(y, predicted) if len(y) > 1 else np.nan,
    }
    return {name: np.asarray(value, float) for name, value in found.items()}


def of_outputs(y: Array, output: Array, k: int, probable: bool) -> dict[str, np.ndarray]:
    """`of_classes` of logits [n] or [n, k]; probable: whether the model's loss makes probabilities of them."""
    from scipy.special import expit, softmax

    output = np.asarray(output, float)
    if output.ndim == 2 and output.shape[1] == 1:
        output = output[:, 0]
    if not np.all(np.isfinite(output)):
        names = [name for name, metric in METRICS.items() if not metric.real]
        return {name: np.full(k if name == "recall" else (), np.nan) for name in names}
    predicted = output > 0 if output.ndim == 1 else output.argmax(axis=1)
    probability = None
    if probable:
        probability = softmax(output, axis=1) if output.ndim == 2 else np.stack([expit(-output), expit(output)], 1)
    return of_classes(
        y, predicted.astype(int), k, output if output.ndim == 1 or not probable else probability, probability
    )
