"""The victim trained on the rows of every stage, and scored."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.core.attack import Poison
from poisoncli.core.errors import FailedError
from poisoncli.core.losses import ERROR
from poisoncli.core.victim import Exact, predict
from poisoncli.runs import targets
from poisoncli.runs.poisoned import poisoned
from poisoncli.runs.prepare import VICTIM, Prepared, class_names
from poisoncli.runs.progress import Report
from poisoncli.runs.run_file import Evaluation, RunFile
from poisoncli.training import devices, metrics
from poisoncli.training.multiclass import MulticlassLinear, outputs
from poisoncli.training.optimum import solve_and_score, solved
from poisoncli.training.score import score_params, train_and_score

DIVERGED = 100.0  # test NMSE that no training reaches that converges


def behind(prepared: Prepared, content: RunFile, name: str, report: Report) -> Evaluation:
    """Train and score the victim at each stage, on the rows that the defense `name` leaves."""
    stages = len(content.poison.counts)
    what = "training the victim" if name == "none" else f"training the victim behind {name}"
    scores = []
    for stage in range(stages):
        report(stage, stages, what)
        weight = None if name == "none" else content.defenses[name].weight[:, stage]
        scores.append(score(prepared, content.poison, stage, weight))
    report(stages, stages, what)
    if not all(score.draw_spread.size for score in scores):
        scores = [score._replace(draw_spread=np.zeros_like(score.test_error)) for score in scores]
    stacked: Any = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *scores)
    rate = targets.rate(prepared.run, prepared.objective, prepared.target, stacked.params)
    if not stacked.draw_spread.any():
        stacked = stacked._replace(draw_spread=np.empty((0, 0), np.float32))
    evaluation = Evaluation(**stacked._asdict(), target_rate=rate, metrics=measures(prepared, stacked.params))
    if not np.all(np.isfinite(evaluation.test_loss)):
        raise FailedError(
            "the victim's training diverged (its loss is not finite): craft again with a smaller -o trainer.rate"
        )
    worst = float(np.max(evaluation.test_error))
    if prepared.task == "real" and worst > DIVERGED:
        warnings.warn(
            f"{what}: the test NMSE reaches {worst:.1g}, it diverged; craft again with a smaller -o trainer.rate",
            stacklevel=2,
        )
    return evaluation


def measures(prepared: Prepared, params: Any) -> dict[str, np.ndarray]:
    """Measures of the test rows, by name, beyond the error that `score` has; params as `Evaluation` has them."""
    model, test, answers = prepared.objective.model, prepared.split.test, _answers(prepared, params)
    shift, scale = (np.broadcast_to(one, prepared.run.repetitions) for one in (prepared.y_shift, prepared.y_scale))
    k = len(class_names(prepared.run, prepared.dataset))
    probable = not isinstance(model, Exact) or model.loss == "logistic"

    def of(r: int) -> list[dict[str, np.ndarray]]:
        found = answers(r)
        if prepared.task == "real":
            y = test.y[r] * scale[r] + shift[r]
            return [metrics.of_reals(y, one * scale[r] + shift[r], shift[r], scale[r]) for one in found]
        return [metrics.of_outputs(test.y[r], one, k, probable) for one in found]

    every: Any = [of(r) for r in range(prepared.run.repetitions)]
    found = jax.tree.map(lambda *leaves: np.stack(leaves), *[_stacked(one) for one in every])
    return {name: values for name, values in found.items() if name not in ("error", "nmse")}


def confusion(prepared: Prepared, params: Any) -> np.ndarray:
    """Shares of each class's test rows that come out as each class [repetitions, stages, k, k]; rows: true class.

    params as `Evaluation` has them; NaN for a class without test rows.
    """
    from sklearn.metrics import confusion_matrix

    k, answers = len(class_names(prepared.run, prepared.dataset)), _answers(prepared, params)

    def of(y: np.ndarray, output: np.ndarray) -> np.ndarray:
        output = output[:, 0] if output.ndim == 2 and output.shape[1] == 1 else output
        predicted = output > 0 if output.ndim == 1 else output.argmax(axis=1)
        counts = confusion_matrix(y, predicted.astype(int), labels=np.arange(k)).astype(float)
        total = counts.sum(axis=1, keepdims=True)
        return np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)

    return np.stack(
        [
            [of(np.asarray(prepared.split.test.y[r], int), np.asarray(one)) for one in answers(r)]
            for r in range(prepared.run.repetitions)
        ]
    )


def _answers(prepared: Prepared, params: Any) -> Callable[[int], Any]:
    """The outputs for the test rows at each stage, as a function of the repetition."""
    model, test = prepared.objective.model, prepared.split.test
    several = jax.jit(jax.vmap(predict, in_axes=(None, 0, None)))

    def of(r: int) -> Any:
        own = jax.tree.map(lambda leaf: leaf[r], params)
        if isinstance(model, Exact):
            machines = (MulticlassLinear(w, b) for w, b in zip(own[0]["w"], own[0]["b"], strict=True))
            return [outputs(machine, test.x[r]) for machine in machines]
        own = prepared.objective.from_layers(own, test.x[r].shape[1])
        return np.asarray(several(model, own, test.x[r]), float)

    return of


def _stacked(found: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.stack([one[name] for one in found]) for name in found[0]}


def score(prepared: Prepared, poison: Poison, stage: int, weight: np.ndarray | None) -> Any:
    train, _, _ = poisoned(prepared.split.train, poison, stage)
    if weight is not None:
        train = train._replace(weight=train.weight * weight)
    if isinstance(prepared.objective.model, Exact):
        lambdas = [prepared.learner(value).lambda_ for value in poison.log_lambda[:, stage]]
        split, seed = prepared.split, prepared.run.seed
        return solve_and_score(prepared.objective.model, train, lambdas, split.val, split.test, seed)
    objective, error = prepared.objective, ERROR[prepared.task]
    split, log_lambda = prepared.split, jnp.asarray(poison.log_lambda[:, stage])
    if prepared.run.at_optimum:
        lambdas = [prepared.learner(value).lambda_ for value in poison.log_lambda[:, stage]]
        params = solved(objective, train, lambdas)
        if params is not None:
            found = score_params(objective, params, split.val, split.test, error=error)
            return jax.tree.map(np.asarray, found)
    repetitions = prepared.run.repetitions
    keys, train, log_lambda, val, test = devices.evenly(
        (prepared.keys(VICTIM), train, log_lambda, split.val, split.test), repetitions
    )
    trainer = prepared.trainer
    score = train_and_score(keys, objective, trainer, train, log_lambda, val, test, error=error)
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:repetitions], score)
