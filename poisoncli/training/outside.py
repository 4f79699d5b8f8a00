"""Victims from outside: anything with scikit-learn's `fit` and `predict`, trained and measured.

This file imports no JAX, since processes of their own import it to train.
"""

from __future__ import annotations

import contextlib
import random
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from poisoncli.core.data import Array
from poisoncli.training import metrics
from poisoncli.training.own_models import Victim, build, in_words


class Lesson(NamedTuple):
    """Rows to train on, and to be measured on.

    x, test_x: a pandas frame in the user's columns, or a CSR matrix. y: class numbers or real targets [n]; weight:
    of each row [n], above 0. labels: what the user calls the classes; empty for real targets. shift, scale: of real
    targets in the run, for the NMSE. plain: x and test_x as numbers, for models that refuse the user's columns.
    """

    x: Any
    y: Array
    weight: Array
    test_x: Any
    test_y: Array
    labels: tuple[Any, ...]
    shift: float = 0.0
    scale: float = 1.0
    plain: tuple[Any, Any] | None = None


class Outcome(NamedTuple):
    """Measures of the test rows, by name, or why there are none; and what is worth saying."""

    measures: dict[str, np.ndarray]
    problem: str = ""
    remarks: tuple[str, ...] = ()


def train(victim: Victim, seed: int, lesson: Lesson) -> Outcome:
    """Train the model and measure it; what goes wrong is told and not raised."""
    remarks: list[str] = []
    try:
        with _heard(remarks):
            _seed(seed)
            measures = _measured(*_trained(victim, seed, lesson, remarks))
    except (Exception, SystemExit) as error:
        return Outcome({}, in_words(error))
    return Outcome(measures, "", tuple(remarks))


def train_one(number: int, victim: Victim, seed: int, lesson: Lesson, folder: str) -> tuple[int, Outcome]:
    """`train` in another process, which looks for modules in `folder`; `number` is given back."""
    if folder not in sys.path:
        sys.path.append(folder)
    place, _, name = victim.source.rpartition(":")
    if place.endswith(".py"):
        victim = Victim(f"{Path(folder, Path(place).expanduser())}:{name}", victim.options)
    return number, train(victim, seed, lesson)


@contextlib.contextmanager
def _heard(remarks: list[str]) -> Iterator[None]:
    """What is printed within it goes to stderr, and of warnings the first lines to `remarks`, once each."""
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("always")
        yield
        lines = (f"{one.category.__name__}: {str(one.message).strip().splitlines()[0]}" for one in caught)
        remarks += dict.fromkeys(lines)


def _seed(seed: int) -> None:
    """For what draws without a `random_state`."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def _trained(victim: Victim, seed: int, lesson: Lesson, remarks: list[str]) -> tuple[Any, Lesson]:
    """The model, and the lesson as it took it.

    That is with the user's columns and labels, or where it refuses these with encoded columns, or class numbers.
    """
    refused: Exception | None = None
    for remark, one in _ways(lesson):
        made, k = build(victim, seed), len(one.labels)
        said: list[str] = []
        arguments = _weights(made, one.weight, said)
        y = np.array(one.labels)[np.asarray(one.y, int)] if k else np.asarray(one.y)
        try:
            made.fit(one.x, y, **arguments)
        except Exception as error:
            refused = refused or error
            continue
        remarks += [*([remark] if remark else []), *said]
        return made, one
    assert refused is not None
    raise refused


def _ways(lesson: Lesson) -> Iterator[tuple[str, Lesson]]:
    """The lesson as the user has it, and what else a model may take, with what is then said."""
    yield "", lesson
    numbers = tuple(range(len(lesson.labels)))
    by_number = f"it refuses the labels, and was given the numbers 0 to {len(numbers) - 1}"
    if lesson.labels != numbers:
        yield by_number, lesson._replace(labels=numbers)
    if lesson.plain is None:
        return
    encoded = lesson._replace(x=lesson.plain[0], test_x=lesson.plain[1])
    yield "it refuses the table's columns, and was given them encoded as numbers", encoded
    if lesson.labels != numbers:
        yield f"{by_number}, and the columns encoded", encoded._replace(labels=numbers)


def _weights(made: Any, weight: Array, remarks: list[str]) -> dict[str, Array]:
    """Rows that count less than others, as `fit` takes them."""
    from sklearn.utils.validation import has_fit_parameter

    if np.all(np.asarray(weight) == 1):
        return {}
    steps = getattr(made, "steps", None)
    name, last = steps[-1] if steps else ("", made)
    if has_fit_parameter(last, "sample_weight"):
        return {f"{name}__sample_weight" if steps else "sample_weight": np.asarray(weight)}
    remarks.append("its fit takes no sample_weight: rows that a defense gives less weight count in full")
    return {}


def _measured(made: Any, lesson: Lesson) -> dict[str, np.ndarray]:
    """Raises `ValueError` for predictions of a wrong shape, or that are no numbers or classes."""
    said = np.asarray(made.predict(lesson.test_x))
    said = said[:, 0] if said.ndim == 2 and said.shape[1] == 1 else said
    n, k = len(lesson.test_y), len(lesson.labels)
    if said.shape != (n,):
        raise ValueError(f"predict gives shape {said.shape} for {n} rows, and not a value for each")
    if said.dtype.kind == "f" and not np.all(np.isfinite(said)):
        raise ValueError("predict gives values that are not finite")
    if not k:
        if said.dtype.kind not in "biuf":
            raise ValueError(f"predict gives {said[0]!r}, which is no number")
        return metrics.of_reals(lesson.test_y, said, lesson.shift, lesson.scale)
    predicted = numbers_of(said, lesson.labels)
    scores, probability = _scores(made, lesson)
    return metrics.of_classes(lesson.test_y, predicted, k, probability if scores is None else scores, probability)


def numbers_of(said: np.ndarray, labels: tuple[Any, ...]) -> np.ndarray:
    """The numbers of the classes [n] that a model names by the user's labels. Raises `ValueError` for others."""
    by_label = {label: number for number, label in enumerate(labels)}
    values = said.tolist()
    for table in (by_label, {str(label): number for label, number in by_label.items()}):
        if all(value in table for value in set(values)):
            return np.array([table[value] for value in values])
    odd = next(value for value in values if value not in by_label)
    raise ValueError(f"predict gives {odd!r}, which is none of the classes {', '.join(map(str, labels))}")


def _scores(made: Any, lesson: Lesson) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Scores [n] of two classes, where the model has no probabilities; and probabilities [n, k]; None without."""
    n, k = len(lesson.test_y), len(lesson.labels)
    listed = getattr(made, "classes_", None)
    order = np.arange(k) if listed is None else numbers_of(np.asarray(listed), lesson.labels)
    for name in ("predict_proba", "decision_function"):
        if not hasattr(made, name):
            continue
        try:
            found = np.asarray(getattr(made, name)(lesson.test_x), float)
        except (AttributeError, NotImplementedError):
            continue
        if not np.all(np.isfinite(found)):
            raise ValueError(f"{name} gives values that are not finite")
        if name == "predict_proba":
            if found.shape != (n, len(order)):
                raise ValueError(f"predict_proba gives shape {found.shape}, and not {(n, len(order))}")
            every, total = np.zeros((n, k)), found.sum(axis=1, keepdims=True)
            near = np.allclose(total, 1, atol=1e-3)  # but for the rounding of float32
            every[:, order] = found / total if near else found
            return None, every
        if found.shape == (n,) and k == 2 == len(order):
            return found if order[1] == 1 else -found, None
        if found.shape == (n, k) and len(order) == k:
            return found[:, np.argsort(order)], None
    return None, None
