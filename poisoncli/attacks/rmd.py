"""The bilevel attack of HLP: poison and hyperparameters by reverse-mode hypergradients."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.bilevel.ascent import NORMALIZE, Ascent, OuterState, StageProblem, Step, hyperiterations
from poisoncli.bilevel.empty_columns import moving_columns, narrowed, narrowed_poison, widened
from poisoncli.bilevel.hypergradient import NAMES, HypergradientMethod
from poisoncli.bilevel.initial_poison import (
    LIKELY,
    as_added,
    filled,
    flipped_copies,
    flipped_validation,
    other_class,
    room,
    with_room,
)
from poisoncli.bilevel.outer_rules import OUTER, REMEMBERED
from poisoncli.bilevel.region import regions
from poisoncli.bilevel.schedule import Part, check_memory, make_schedule, settings_that_fit
from poisoncli.bilevel.stage import StageSlot, begin_stage, spread, stage_keys
from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Array, Data, Task
from poisoncli.core.method import Fixed, method, option
from poisoncli.core.random import generator
from poisoncli.core.victim import Trainer
from poisoncli.training.trainers import TRAINERS, steps_of, surrogate


@method
class RMD:
    """Projected hypergradient ascent on the poison's features, batch after batch (HLP Algorithms 1 and 2).

    Each batch starts as flipped copies of the clean rows that it replaces, is optimized, and is then
    frozen. Where lambda is learned it starts anew with each batch and descends on the validation loss.

    outer_steps: hyperiterations for each batch, at least 1 (T_mul).
    outer_rate: step size of points and log_lambda, positive (alpha).
    lambda_rate: step size of log_lambda if not that of the points; 0 means the same.
    lambda_schedule: `linear`: this step falls to 0 over the last quarter of the outer steps, so that log_lambda
    settles; `constant`: it does not, as in the paper, and log_lambda ends where the last step leaves it.
    inner_steps: training steps that are differentiated through (T); 0 means as many as the victim takes,
    or where it is trained to its optimum, as many as it takes until its loss has settled to a hundredth.
    inner_rate: step size of these training steps, at most 100 (eta); 0 means that of the victim.
    inner_trainer: the trainer of these steps: `sgd`, `momentum` or `adam`, or the `victim`'s own.
    inner_size: rows of a mini-batch in these steps; 0 means all rows (RCH Appendix C.2), -1 as many as the victim.
    batch: points optimized together, at most; 0 means 7 % of the training rows.
    place: points `replace` training rows, whose flipped copies they start as (HLP III-C), or are added (`append`)
    and start as flipped copies of validation rows (HLP Appendix A).
    start_class: class of the rows that the points are copies of, 0 or 1; -1 means either.
    normalize: divide the hypergradient by the L2 norm of each `point` or of the `batch`, or not: `none`.
    hypergradient: `reverse`, `forward`, `cg` or `exact` (HLP Table II); the last two want a converged training.
    last: differentiate through the last so many training steps only (`reverse`); 0 means all.
    tolerance, iterations: where the conjugate gradients of `cg` stop.
    outer: rule for the outer steps: the hypergradient itself (`plain`), `adam` or `optimistic`; what it gives is
    then normalized.
    log_lambda_start: where a learned log_lambda starts, in the papers' scale (lambda = e^log_lambda / n).
    warm: with each batch a learned log_lambda starts where the last one left it, and not anew.
    restarts: more starts, solved together, of which the best is kept: random ones for a log_lambda that is learned
    on the clean rows (least validation loss), and random validation rows, flipped, for each batch (largest target
    loss; RCH Appendix C.2).
    log_lambda_min: its lower bound; -8 has no effect any more, and -inf is the paper's.
    log_lambda_max: its upper bound; inf means log(n), the bound lambda <= 1.
    poison_label: the class that poison rows claim to be: any `other` than their own, the `nearest` (likeliest after
    their own to the victim of the clean rows), the `least-likely`, or one by its name; of two classes the first
    three are the same.
    target: the rows to be classified wrongly: `val`, `test` or `train`, `class:K` for the validation rows of class
    K, `rows:FILE` for rows by their numbers, kept out of all else. A learned lambda keeps to `val`.
    target_label: the class that these rows are pushed to; by default any wrong one.
    target_loss: what is maximized on them: the loss of the `training`, or the `margin`, which never saturates.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")
    learns_lambda: ClassVar[bool] = True
    spreads: ClassVar[bool] = True
    victims: ClassVar[tuple[str, ...]] = ("logistic", "mlp", "cnn")
    tuned: ClassVar[tuple[str, ...]] = (
        *("outer_steps", "outer_rate", "inner_steps", "inner_rate", "batch", "log_lambda_max"),
    )
    in_label: ClassVar[Mapping[str, Any]] = {
        "normalize": "point",
        "inner_trainer": "victim",
        "inner_size": -1,
        "place": "replace",
        "poison_label": "other",
    }
    before: ClassVar[Mapping[str, Any]] = {"lambda_schedule": "constant"}

    outer_steps: int = option(140, low=1)
    outer_rate: float = option(0.3, above=0)
    lambda_rate: float = option(0.0, low=0)
    lambda_schedule: str = option("linear", choices=("linear", "constant"))
    inner_steps: int = option(140, low=0)
    inner_rate: float = option(0.1, low=0, high=100)
    inner_trainer: str = option("victim", choices=("victim", *TRAINERS))
    inner_size: int = option(-1, low=-1)
    batch: int = option(0, low=0)
    place: str = option("replace", choices=("replace", "append"))
    start_class: int = option(-1, low=-1, high=1)
    normalize: str = option("point", choices=NORMALIZE)
    hypergradient: str = option("reverse", choices=NAMES)
    last: int = option(0, low=0)
    tolerance: Fixed = option(1e-6, above=0)
    iterations: int = option(200, low=1)
    outer: str = option("plain", choices=OUTER)
    restarts: int = option(0, low=0, high=1000)
    target_loss: str = option("training", choices=("training", "margin"))
    log_lambda_start: float = 0.0
    warm: bool = False
    log_lambda_min: float = -8.0
    log_lambda_max: float = float("inf")
    poison_label: str = "other"
    target: str = "val"
    target_label: str = ""

    def settings_at_once(self, problem: Problem) -> int:
        """How many settings of lambda fit into the memory together."""
        return max(1, settings_that_fit(problem, self.inner_steps) // (1 + self.restarts))

    def joins(self) -> tuple[str, ...]:
        """In what settings that are solved together may differ, beside lambda; see `declared.OfAttack`."""
        steps = ("outer_rate", "lambda_rate", "log_lambda_start", "log_lambda_min", "log_lambda_max")
        if self.restarts or self.place == "append" or self.poison_label in LIKELY:
            return ()  # then the points start as the rows looked at say, or the victim that is trained on them
        return (*steps, "inner_rate", "trainer.rate", "reg", "target")

    def craft(self, key: Array, problem: Problem, resume: Poison | None = None) -> Iterator[Poison]:
        """See `Attack.craft`; stage 0 learns lambda on the clean rows, stage s adds the s-th batch."""
        columns = moving_columns(problem) if problem.settings > 1 and not REMEMBERED[self.outer] else None
        if columns is None:
            yield from self._craft(key, problem, resume)
            return
        resume = narrowed_poison(resume, columns) if resume else None
        for poison in self._craft(key, narrowed(problem, columns), resume):
            yield widened(poison, columns, problem.train.x.shape[2])

    def _craft(self, key: Array, problem: Problem, resume: Poison | None) -> Iterator[Poison]:
        trainer = surrogate(problem.trainer, self.inner_trainer, self.inner_rate, self.inner_steps, self.inner_size)
        problem = _with_starts(problem, self.restarts + 1)
        if self.place == "append":
            problem = with_room(problem)
            resume = resume._replace(replaced=room(problem)) if resume else None
        n = problem.train.y.shape[1]
        work = make_schedule(problem, steps_of(trainer, n), self.outer_steps, trainer.size, self.last)
        check_memory(self.hypergradient, problem)
        method = HypergradientMethod(
            *(self.hypergradient, work.store, self.last, self.tolerance, self.iterations), segments=work.segments
        )
        ascent = Ascent(self.normalize, method, work.span, self.outer)
        if resume:
            work.check(resume)
        poison = resume or self._start(jax.random.fold_in(key, 0), problem)._replace(total=work.total)
        for part in work.parts(poison.done):
            if part.first == 0:
                poison = self._begun(jax.random.fold_in(key, 2), problem, poison, part)
            there = problem if self.place == "replace" else filled(problem, poison.counts[part.stage])
            outer_state, slot = begin_stage(there, poison, part)
            outer_state = spread(outer_state._replace(memory=self._memory(problem, poison, part, slot)))
            region = regions(problem, poison, part.group, slot.batch)
            own = self._own_rate(problem, trainer, slot)
            stage_problem = dataclasses.replace(_stage_problem(problem, own, part, slot), region=region)
            keys = stage_keys(jax.random.fold_in(key, 1), part)
            step = self._step(problem, part.stage, slot)
            for t in range(part.first, self.outer_steps, work.span):
                outer_state, (loss, log_lambda, residual) = hyperiterations(
                    keys, stage_problem, outer_state, step, jnp.asarray(t), ascent=ascent
                )
                poison = _advanced(poison, slot, part.stage, t, outer_state, log_lambda, loss)
                self._check(residual)
                if t + work.span == self.outer_steps:
                    poison = self._best(poison, slot, part.stage)
                found = poison if poison.done < poison.total else _first_starts(poison, self.restarts + 1)
                yield found if self.place == "replace" else as_added(found)

    def _check(self, residual: Array) -> None:
        """Warn where conjugate gradients stopped early."""
        worst = float(jnp.max(residual))
        if self.hypergradient == "cg" and not worst <= 10 * self.tolerance:
            warnings.warn(
                f"conjugate gradients stopped at a relative residual of {worst:.1g}: raise -o iterations, or add "
                "a penalty",
                stacklevel=2,
            )

    def _start(self, key: Array, problem: Problem) -> Poison:
        if self.place == "append":
            poison = flipped_validation(key, problem, _seen(problem), self.outer_steps, self.start_class)
        else:
            poison = flipped_copies(key, problem, self.outer_steps, self.start_class)
        learn = np.tile(problem.learn, problem.train.y.shape[0])
        starts = np.broadcast_to(self._option(problem, "log_lambda_start"), problem.learn.shape)
        poison.log_lambda[learn] = np.tile(starts, problem.train.y.shape[0])[learn, None, None]
        x, y = (np.repeat(leaf, problem.settings, axis=0) for leaf in (poison.x, poison.y))
        return poison._replace(x=x, y=y)

    def _begun(self, key: Array, problem: Problem, poison: Poison, part: Part) -> Poison:
        """`poison` at the start of a stage: log_lambda goes on from the last one, or not; and the other starts."""
        x, values, stage, starts = poison.x.copy(), poison.log_lambda.copy(), part.stage, self.restarts + 1
        if stage:
            keeps = np.tile(problem.learn & (problem.clean_only | self.warm), problem.train.y.shape[0])
            values[keeps, stage] = values[keeps, stage - 1]
        if starts == 1:
            return poison._replace(x=x, log_lambda=values)
        rows, bounds = _seen(problem), (max(self.log_lambda_min, -8.0), float(self._bound(problem)))
        for r in range(part.group.start, part.group.stop):
            for number in range(1, starts):
                rng = generator(functools.reduce(jax.random.fold_in, (stage, r, number), key))
                entries = np.arange(r * problem.settings + number, (r + 1) * problem.settings, starts)
                if stage:
                    batch = slice(*poison.counts[stage - 1 : stage + 1])
                    start = other_class(rng, rows.x[r], rows.y[r], poison.y[entries[0], batch])
                    x[entries, batch] = x[entries, batch] if start is None else start
                else:
                    learned = entries[problem.learn[entries % problem.settings]]
                    values[learned, 0] = rng.uniform(*bounds, values.shape[2])
        return poison._replace(x=x, log_lambda=values)

    def _best(self, poison: Poison, slot: StageSlot, stage: int) -> Poison:
        """`poison` at the end of a stage, where all starts of a setting go on from the best."""
        starts = self.restarts + 1
        if starts == 1:
            return poison
        entries = slot.entries.reshape(-1, starts)
        loss = poison.loss[entries, stage, -1]
        best = entries[np.arange(len(entries)), np.argmax(loss if stage else -loss, axis=1)][:, None]
        x, values, losses = poison.x.copy(), poison.log_lambda.copy(), poison.loss.copy()
        x[entries, slot.batch] = x[best, slot.batch]
        values[entries, stage], losses[entries, stage] = values[best, stage], losses[best, stage]
        return poison._replace(x=x, log_lambda=values, loss=losses)

    def _memory(self, problem: Problem, poison: Poison, part: Part, slot: StageSlot) -> Array | tuple:
        """What the rule of the outer steps remembers, [repetitions, settings, vectors, numbers]."""
        if not REMEMBERED[self.outer]:
            return ()
        if part.first > 0:
            return jnp.asarray(poison.memory[slot.entries])
        numbers = slot.free * problem.train.x.shape[2] + problem.log_lambda.shape[1]
        return jnp.zeros((*slot.entries.shape, REMEMBERED[self.outer], numbers), problem.train.x.dtype)

    def _option(self, problem: Problem, name: str) -> np.ndarray:
        """A number among the options, or one for each setting where they differ in it."""
        return np.asarray(problem.varied.get(name, getattr(self, name)))

    def _own_rate(self, problem: Problem, trainer: Trainer, slot: StageSlot) -> Trainer:
        """`trainer` with a step size for each setting of a stage, where they differ in it."""
        if not {"inner_rate", "trainer.rate"} & problem.varied.keys():
            return trainer
        own, victim = self._option(problem, "inner_rate"), problem.varied.get("trainer.rate", problem.trainer.rate)
        rate = np.broadcast_to(np.where(own > 0, own, victim), problem.learn.shape)[_settings(problem, slot)]
        return dataclasses.replace(trainer, rate=jnp.asarray(rate, problem.train.x.dtype))  # type: ignore[type-var]

    def _bound(self, problem: Problem) -> np.ndarray:
        most = self._option(problem, "log_lambda_max")
        return np.where(np.isinf(most), np.log(problem.objective.n_train), most)

    def _step(self, problem: Problem, stage: int, slot: StageSlot) -> Step:
        settings = _settings(problem, slot)

        def own(values: np.ndarray) -> np.ndarray:
            return values[settings] if values.ndim else values

        outer_rate, lambda_rate = self._option(problem, "outer_rate"), self._option(problem, "lambda_rate")
        x_rate = outer_rate * (stage > 0)
        learns = problem.learn & ((stage == 0) | ~np.asarray(problem.clean_only))
        lambda_rate = np.where(learns, np.where(lambda_rate > 0, lambda_rate, outer_rate), 0.0)[settings]
        threat = problem.threat
        bounds = (threat.low, threat.high) if threat.domain is None else (-np.inf, np.inf)  # there the region is it
        values = (
            own(x_rate),
            lambda_rate,
            self.outer_steps if self.lambda_schedule == "linear" else np.inf,
            *bounds,
            own(self._option(problem, "log_lambda_min")),
            own(self._bound(problem)),
        )
        return Step(*(jnp.asarray(value, problem.train.x.dtype) for value in values))


def _settings(problem: Problem, slot: StageSlot) -> np.ndarray:
    """The numbers of the settings that a stage has."""
    return slot.entries[0] % problem.settings


def _with_starts(problem: Problem, starts: int) -> Problem:
    """`problem` with every setting that often."""
    return problem._replace(
        log_lambda=np.repeat(problem.log_lambda, starts, axis=0),
        learn=np.repeat(problem.learn, starts),
        clean_only=np.repeat(np.broadcast_to(problem.clean_only, problem.learn.shape), starts),
        settings=problem.settings * starts,
    )


def _first_starts(poison: Poison, starts: int) -> Poison:
    """The first start of each setting, where all stand at the best."""
    x, y, values, loss = (leaf[::starts] for leaf in (poison.x, poison.y, poison.log_lambda, poison.loss))
    return poison._replace(x=x, y=y, log_lambda=values, loss=loss)


def _seen(problem: Problem) -> Data:
    """The rows that the learner looks at."""
    return problem.target if problem.trusted is None else problem.trusted


def _stage_problem(problem: Problem, trainer: Trainer, part: Part, slot: StageSlot) -> StageProblem:
    """What the hyperiterations of a stage are about; in stage 0 the learner is alone."""
    objective, rows = problem.objective, (problem.target, problem.trusted)
    if part.stage == 0:
        objective, rows = dataclasses.replace(objective, outer=None), (_seen(problem), None)
    if np.ndim(objective.l1):
        objective = dataclasses.replace(objective, l1=jnp.asarray(objective.l1)[_settings(problem, slot)])
    target, trusted = jax.tree.map(lambda leaf: jnp.asarray(leaf[part.group]), rows)
    return StageProblem(objective, trainer, target, slot.free, trusted)


def _advanced(
    poison: Poison, slot: StageSlot, stage: int, t: int, outer_state: OuterState, log_lambda: Array, loss: Array
) -> Poison:
    """`poison` after the outer steps from t on; a copy, for an interruption must not find it half-changed."""
    x, lambdas, losses = poison.x.copy(), poison.log_lambda.copy(), poison.loss.copy()
    free, span = slot.batch.stop - slot.batch.start, loss.shape[2]
    if free:
        x[slot.entries, slot.batch] = np.asarray(outer_state.rows.blocks[-1].x)[:, :, -free:]
    lambdas[slot.entries, stage] = log_lambda[:, :, -1]
    losses[slot.entries, stage, t : t + span] = loss
    done, memory = poison.done + span, np.empty((0, 0, 0), x.dtype)
    if len(outer_state.memory) and done < poison.total:
        memory = np.zeros((len(x), *outer_state.memory.shape[2:]), x.dtype)  # type: ignore[union-attr]
        memory[slot.entries] = outer_state.memory
    return poison._replace(x=x, log_lambda=lambdas, loss=losses, done=done, memory=memory)
