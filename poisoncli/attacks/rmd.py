"""The bilevel attack of HLP: poison and hyperparameters by reverse-mode hypergradients."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterator
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.core.ascent import NORMALIZE, Front, Step, hyperiterations
from poisoncli.core.front import Place, stage_front, stage_keys
from poisoncli.core.hypergrad import NAMES, Method
from poisoncli.core.outer import OUTER, REMEMBERED
from poisoncli.core.plan import Part, Plan, check_memory, plan
from poisoncli.core.start import flipped_copies, generator
from poisoncli.core.train import steps_of
from poisoncli.core.types import Array, Data, Fixed, Poison, Problem, method, option


@method
class RMD:
    """Projected hypergradient ascent on the poison's features, batch after batch (HLP Algorithms 1 and 2).

    Each batch starts as flipped copies of the clean rows that it replaces, is optimized, and is then
    frozen. Where lambda is learned it starts anew with each batch and descends on the validation loss.

    outer_steps: hyperiterations for each batch, at least 1 (T_mul).
    outer_rate: step size of points and log_lambda, positive (alpha).
    lambda_rate: step size of log_lambda if not that of the points; 0 means the same.
    inner_steps: training steps that are differentiated through, at least 1 (T).
    inner_rate: step size of these training steps, in (0, 1] (eta).
    batch: points optimized together, at most; 0 means 7 % of the training rows.
    normalize: divide the hypergradient by the L2 norm of each `point` or of the `batch`, or not: `none`.
    hypergradient: `reverse`, `forward`, `cg` or `exact` (HLP Table II); the last two want a converged training.
    last: differentiate through the last so many training steps only (`reverse`); 0 means all.
    tolerance, iterations: where the conjugate gradients of `cg` stop.
    outer: rule for the outer steps: the hypergradient itself (`plain`), `adam` or `optimistic`; what it gives is
    then normalized.
    log_lambda_start: where a learned log_lambda starts, in the papers' scale (lambda = e^log_lambda / n).
    warm: with each batch a learned log_lambda starts where the last one left it, and not anew.
    restarts: more random starts for a log_lambda that is learned on the clean rows; the best validation loss wins
    (RCH Appendix C.2).
    log_lambda_min: its lower bound; -8 has no effect any more, and -inf is the paper's.
    log_lambda_max: its upper bound; inf means log(n), the bound lambda <= 1.
    target: the rows to be classified wrongly: `val`, `test` or `train`, `class:K` for the validation rows of class
    K, `rows:FILE` for rows of the data set that are kept out of all else. A learned lambda keeps to `val`.
    target_label: the class that these rows are pushed to; by default any wrong one.
    target_loss: what is maximized on them: the loss of the `training`, or the `margin`, which never saturates.
    """

    adds: ClassVar[bool] = False

    outer_steps: int = option(140, low=1)
    outer_rate: float = option(0.3, above=0)
    lambda_rate: float = option(0.0, low=0)
    inner_steps: int = option(140, low=1)
    inner_rate: float = option(0.1, above=0, high=1)
    batch: int = option(0, low=0)
    normalize: str = option("point", choices=NORMALIZE)
    hypergradient: str = option("reverse", choices=NAMES)
    last: int = option(0, low=0)
    tolerance: Fixed = option(1e-6, above=0)
    iterations: int = option(200, low=1)
    outer: str = option("plain", choices=OUTER)
    restarts: int = option(0, low=0)
    target_loss: str = option("training", choices=("training", "margin"))
    log_lambda_start: float = 0.0
    warm: bool = False
    log_lambda_min: float = -8.0
    log_lambda_max: float = float("inf")
    target: str = "val"
    target_label: str = ""

    def craft(self, key: Array, problem: Problem, resume: Poison | None = None) -> Iterator[Poison]:
        """See `Attack.craft`; stage 0 learns lambda on the clean rows, stage s adds the s-th batch."""
        inner = {"rate": self.inner_rate, "epochs": self.inner_steps}
        trainer = dataclasses.replace(problem.trainer, **inner)  # type: ignore[type-var]
        work = plan(problem, steps_of(trainer, problem.train.y.shape[1]), self.outer_steps)
        check_memory(self.hypergradient, problem, work.free)
        climb = functools.partial(
            hyperiterations,
            normalize=self.normalize,
            free=work.free,
            method=Method(self.hypergradient, work.store, self.last, self.tolerance, self.iterations),
            count=work.span,
            outer=self.outer,
        )
        poison = resume or self._start(jax.random.fold_in(key, 0), problem)._replace(total=work.total)
        if resume is None and self.restarts and np.any(problem.learn):
            poison = self._restarted(key, problem, poison, work, functools.partial(climb, trainer=trainer))
        for part in work.parts(poison.done):
            if part.first == 0 and part.stage > 0:
                poison = self._kept(problem, poison, part)
            front, place = stage_front(problem, poison, part, work.free)
            front = front._replace(memory=self._memory(problem, poison, part, place, work.free))
            target, trusted = _of_group(problem.target, part), _of_group(problem.trusted, part)
            keys = stage_keys(jax.random.fold_in(key, 1), part)
            step = self._step(problem, part.stage, place)
            for t in range(part.first, self.outer_steps, work.span):
                front, (loss, log_lambda, residual) = climb(
                    keys, problem.objective, trainer, front, target, step, jnp.asarray(t), trusted=trusted
                )
                poison = _advanced(poison, place, part.stage, t, front, log_lambda, loss)
                self._check(residual)
                yield poison

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
        poison = flipped_copies(key, problem, self.outer_steps)
        learn = np.tile(problem.learn, problem.train.y.shape[0])
        poison.log_lambda[learn] = self.log_lambda_start
        x, y = (np.repeat(leaf, problem.settings, axis=0) for leaf in (poison.x, poison.y))
        return poison._replace(x=x, y=y)

    def _kept(self, problem: Problem, poison: Poison, part: Part) -> Poison:
        """`poison` at the start of a stage, with the log_lambda of the last stage where that one goes on."""
        keeps = np.tile(problem.learn & (problem.clean_only | self.warm), problem.train.y.shape[0])
        values = poison.log_lambda.copy()
        values[keeps, part.stage] = values[keeps, part.stage - 1]
        return poison._replace(log_lambda=values)

    def _memory(self, problem: Problem, poison: Poison, part: Part, place: Place, free: int) -> Array | tuple:
        """What the rule of the outer steps remembers, [repetitions, settings, vectors, numbers]."""
        if not REMEMBERED[self.outer]:
            return ()
        if part.first > 0:
            return jnp.asarray(poison.memory[place.entries])
        numbers = free * problem.train.x.shape[2] + problem.log_lambda.shape[1]
        return jnp.zeros((*place.entries.shape, REMEMBERED[self.outer], numbers), problem.train.x.dtype)

    def _restarted(
        self, key: Array, problem: Problem, poison: Poison, work: Plan, climb: Callable[..., tuple[Front, tuple]]
    ) -> Poison:
        """`poison` with the best log_lambda for the clean rows that any of the starts leads to, to begin with."""
        values = poison.log_lambda.copy()
        shape = (self.restarts, *np.shape(values[:, 0]))
        bounds = max(self.log_lambda_min, -8.0), self._bound(problem)
        drawn = generator(jax.random.fold_in(key, 2)).uniform(*bounds, shape).astype(values.dtype)
        objective = dataclasses.replace(problem.objective, outer=None)
        for group in work.groups:
            part = Part(group, 0, 0)
            front, place = stage_front(problem, poison, part, work.free)
            front = front._replace(memory=self._memory(problem, poison, part, place, work.free))
            keys, step = stage_keys(jax.random.fold_in(key, 1), part), self._step(problem, 0, place)
            target = _of_group(problem.target if problem.trusted is None else problem.trusted, part)
            least = np.full(place.entries.shape, np.inf)
            for start in (values[:, 0], *drawn):
                now = front._replace(log_lambda=jnp.asarray(start[place.entries]))
                loss = least
                for t in range(0, self.outer_steps, work.span):
                    now, (losses, _, _) = climb(
                        keys, objective, front=now, target=target, step=step, first=jnp.asarray(t)
                    )
                    loss = np.asarray(losses)[:, :, -1]
                better = loss < least
                values[place.entries[better], 0] = np.asarray(now.log_lambda)[better]
                least = np.minimum(loss, least)
        return poison._replace(log_lambda=values)

    def _bound(self, problem: Problem) -> float:
        return float(np.log(problem.train.y.shape[1])) if np.isinf(self.log_lambda_max) else self.log_lambda_max

    def _step(self, problem: Problem, stage: int, place: Place) -> Step:
        x_rate = self.outer_rate if stage > 0 else 0.0
        settings = place.entries[0] % problem.settings
        learns = problem.learn & ((stage == 0) | ~np.asarray(problem.clean_only))
        lambda_rate = np.where(learns[settings], self.lambda_rate or self.outer_rate, 0.0)
        values = (
            x_rate,
            lambda_rate,
            problem.threat.low,
            problem.threat.high,
            self.log_lambda_min,
            self._bound(problem),
        )
        return Step(*(jnp.asarray(value, problem.train.x.dtype) for value in values))


def _of_group(rows: Data | None, part: Part) -> Data | None:
    """The rows of a group of repetitions."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[part.group]), rows)


def _advanced(
    poison: Poison, place: Place, stage: int, t: int, front: Front, log_lambda: Array, loss: Array
) -> Poison:
    """`poison` after the outer steps from t on; a copy, for an interruption must not find it half-changed."""
    x, lambdas, losses = poison.x.copy(), poison.log_lambda.copy(), poison.loss.copy()
    free, span = place.batch.stop - place.batch.start, loss.shape[2]
    if free:
        x[place.entries, place.batch] = np.asarray(front.rows.blocks[-1].x)[:, :, -free:]
    lambdas[place.entries, stage] = log_lambda[:, :, -1]
    losses[place.entries, stage, t : t + span] = loss
    done, memory = poison.done + span, np.empty((0, 0, 0), x.dtype)
    if len(front.memory) and done < poison.total:
        memory = np.zeros((len(x), *front.memory.shape[2:]), x.dtype)  # type: ignore[union-attr]
        memory[place.entries] = front.memory
    return poison._replace(x=x, log_lambda=lambdas, loss=losses, done=done, memory=memory)
