"""What a run file tells about attack and victim at every fraction of poison: one array for each quantity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from poisoncli.core import stability
from poisoncli.core.errors import PoisonError
from poisoncli.runs import defaults, serialize
from poisoncli.runs.run_file import Evaluation, RunFile
from poisoncli.runs.soundness import is_linear
from poisoncli.training.metrics import Measure
from poisoncli.training.metrics import measure as named_measure

SELECTED = (0.025, 0.05, 0.1)  # share of the features, where the data set does not say how many


class Quantity(NamedTuple):
    """What a quantity is called on an axis, and the factor to the axis' unit."""

    label: str
    factor: float = 1


QUANTITIES = {
    "test_error": Quantity("test error (%)", 100),
    "val_loss": Quantity("validation loss (nats)"),
    "log_lambda": Quantity("log_lambda = log(n lambda)"),
    "norm": Quantity("||w||² / d, all parameters"),
    "layer_norm": Quantity("||w||² / d of each layer"),
    "consistency": Quantity("consistency index, k = {}"),
    "decrease": Quantity("relative decrease of the test error (%)", 100),
}


def shown(content: RunFile, quantity: str, k: int = 0) -> Quantity:
    """How a quantity of a run is drawn: the test error of real targets is the NMSE, and no share.

    quantity: of `QUANTITIES`, or `metric:` and what `--metric` takes.
    """
    if quantity == "test_error" and content.real:
        return Quantity("test NMSE")
    if quantity.startswith("metric:"):
        asked = named_measure(quantity.removeprefix("metric:"), content.real)
        return Quantity(f"{asked.label} (%)", 100) if asked.metric.share else Quantity(asked.label)
    return QUANTITIES[quantity]._replace(label=QUANTITIES[quantity].label.format(k))


def evaluation(content: RunFile, name: str = "none") -> Evaluation:
    """The victim behind a defense. Raises `PoisonError` if the file was not evaluated."""
    if name not in content.evaluations:
        raise PoisonError("the run file holds no evaluation: run `poison evaluate` on it first")
    return content.evaluations[name]


def measured(content: RunFile, asked: Measure, name: str = "none") -> np.ndarray:
    """A measure of the test rows behind a defense [repetitions, stages].

    Raises `PoisonError` where the file does not hold it.
    """
    found = evaluation(content, name)
    if asked.key in ("error", "nmse"):
        return found.test_error.astype(float)
    return of_class(content, asked, found.metrics)


def of_class(content: RunFile, asked: Measure, found: Mapping[str, np.ndarray]) -> np.ndarray:
    """A measure out of all that were kept, of the class asked for or of the worst [repetitions, stages]."""
    if asked.key not in found:
        raise PoisonError(f"the run file holds no {asked.label}: run `poison evaluate --metric` on it first")
    values = found[asked.key].astype(float)
    if asked.key != "recall":
        return values
    return values[:, :, content.classes.index(asked.of_class)] if asked.of_class else values.min(axis=2)


def values(content: RunFile, quantity: str, k: int = 0, reference: RunFile | None = None) -> np.ndarray:
    """A quantity [repetitions, stages, lines]; one line, or one for each lambda or layer.

    k: features selected, for `consistency`; reference: the run without a penalty, for `decrease`.
    """
    if quantity == "log_lambda":
        return content.poison.log_lambda.astype(float)
    if quantity.startswith("metric:"):
        return measured(content, named_measure(quantity.removeprefix("metric:"), content.real))[:, :, None]
    found = evaluation(content)
    if quantity == "norm":
        return np.average(found.norm, axis=2, weights=sizes(content))[:, :, None]
    if quantity == "layer_norm":
        return found.norm.astype(float)
    if quantity == "consistency":
        return consistency(content, k)[:, :, None]
    if quantity == "decrease":
        assert reference is not None
        return decrease(content, reference)[:, :, None]
    return np.asarray(getattr(found, quantity), float)[:, :, None]


def sizes(content: RunFile) -> list[int]:
    """Parameters in each layer."""
    return [sum(leaf[0, 0].size for leaf in layer.values()) for layer in evaluation(content).params]


def selected(content: RunFile) -> tuple[int, ...]:
    """Numbers of features to select for the consistency index; none where a feature has more than one weight."""
    if not _has_one_weight_each(content):
        return ()
    m = content.poison.x.shape[2]
    told = defaults.dataset(serialize.from_json(content.run).dataset.name).selected
    wanted = told or [math.ceil(share * m) for share in SELECTED]
    return tuple(dict.fromkeys(k for k in wanted if 0 < k < m))


def _has_one_weight_each(content: RunFile) -> bool:
    """Whether the victim is a linear model with a single output."""
    layers = evaluation(content).params
    return len(layers) == 1 and is_linear(layers) and layers[0]["w"].shape[2] == 1


def consistency(content: RunFile, k: int, name: str = "none") -> np.ndarray:
    """Kuncheva's index of the k largest weights at each stage against the clean victim's [repetitions, stages].

    Raises `PoisonError` for a network, and unless 0 < k < number of features.
    """
    m = content.poison.x.shape[2]
    if not (_has_one_weight_each(content) and 0 < k < m):
        raise PoisonError(f"{k} of {m} features cannot be selected: take a linear model, and between 1 and {m - 1}")
    weights, clean = (evaluation(content, which).params[0]["w"] for which in (name, "none"))
    repetitions, stages = weights.shape[:2]
    return np.array(
        [
            [stability.consistency(clean[r, 0, 0], weights[r, s, 0], k) for s in range(stages)]
            for r in range(repetitions)
        ]
    )


def decrease(content: RunFile, reference: RunFile) -> np.ndarray:
    """Relative decrease of the test error [repetitions, stages] against the run without a penalty (HLP V-B-2)."""
    without, regularized = (evaluation(one).test_error.astype(float) for one in (reference, content))
    if without.shape != regularized.shape:
        raise PoisonError("the runs to compare have other repetitions or fractions: craft both with the same ones")
    return stability.relative_decrease(without, regularized)


def reference(content: RunFile, others: list[RunFile]) -> RunFile | None:
    """Of `others` the run that differs from `content` in having no penalty; None where there is none."""

    def setting(one: RunFile) -> tuple:
        run = serialize.from_json(one.run)
        names = (run.dataset, run.model, run.trainer, run.attack.name)
        return (*names, run.n_train, run.n_val, run.n_test, run.seed, one.poison.counts.tolist(), len(one.poison.x))

    if serialize.from_json(content.run).reg == "none":
        return None
    wanted = setting(content)
    bare = (one for one in others if serialize.from_json(one.run).reg == "none" and setting(one) == wanted)
    return next(bare, None)


def weights(content: RunFile, stage: int) -> np.ndarray:
    """All weights of the victim at a stage, of all repetitions, without the biases (RCH Appendix D).

    Of a model that has vectors alone these are its weights.
    """
    leaves = [leaf for layer in evaluation(content).params for leaf in layer.values()]
    matrices = [leaf for leaf in leaves if leaf.ndim > 3]
    return np.concatenate([leaf[:, stage].ravel() for leaf in matrices or leaves])


def histogram(content: RunFile) -> dict[str, list[float]]:
    """Weights of the clean victim against those at the largest fraction of poison, counted in common bins."""
    edges, clean, poisoned = stability.histogram(weights(content, 0), weights(content, -1))
    return {"edges": edges.tolist(), "clean": clean.tolist(), "poisoned": poisoned.tolist()}
