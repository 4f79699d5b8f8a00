"""The stealthy attack on regression of SPR: damage against detectability."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.bilevel.ascent import NORMALIZE, StageProblem
from poisoncli.bilevel.initial_poison import copies, flipped_copies
from poisoncli.bilevel.region import regions
from poisoncli.bilevel.schedule import Part, Schedule, make_schedule, settings_that_fit
from poisoncli.bilevel.settings import entries_of, of_settings, with_entries
from poisoncli.bilevel.stage import begin_stage, only_setting, poisoned_before, spread, stage_keys
from poisoncli.bilevel.stealth import CleanFit, StealthyAscent, Tradeoff, damage, fit_clean, hyperiterations, risks
from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Array, Task
from poisoncli.core.method import method, option
from poisoncli.core.victim import Trainer
from poisoncli.training.trainers import SGD


class _Pass(NamedTuple):
    """One attack on all batches.

    chosen: the settings that it is about [c]; alpha: weight of the damage of each [c]; relative: with both
    objectives normalized. changed: the settings that take a result, each that of its `source` among the chosen.
    """

    chosen: np.ndarray
    alpha: np.ndarray
    relative: bool
    changed: np.ndarray
    source: np.ndarray


@method
class Stealthy:
    """Projected hypergradient ascent on features and targets together, batch after batch (SPR Algorithms 1-4).

    It climbs alpha * damage - (1 - alpha) * risk, where damage is the loss on the target rows and the risk of
    detection is SPR eq. 5. Each batch starts from the clean rows that it replaces, and is then frozen.

    alpha: weight of the damage, in [0, 1]; 1 ignores detection.
    outer_steps: hyperiterations for each batch, at least 1 (T_out).
    outer_rate: step size of the points, positive (gamma).
    inner_steps: training steps that are differentiated through (T); 0 means as many as the victim takes,
    or where it is trained to its optimum, as many as it takes until its loss has settled to a hundredth.
    inner_rate: step size of these training steps, at most 100 (eta); 0 means that of the victim.
    batch: points optimized together, at most; 0 means 7.5 % of the training rows.
    normalize: divide the `objectives` by their references, which needs a first attack with alpha = 1
    (Algorithms 1 and 2), or not: `none`.
    gradient: divide the hypergradient of features and targets by the L2 norm of the whole `batch`, so that points
    come to rest where the objectives balance; of each `point`, the stronger attack with alpha = 1; or not: `none`.
    start: where a point's target starts: at the `opposite` bound, the stronger attack, or as a clone: `copy`.
    box: points stay within the range of the clean `train` rows, or of the whole data set: `domain`.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("real",)
    spreads: ClassVar[bool] = True
    victims: ClassVar[tuple[str, ...]] = ("linear", "mlp")
    tuned: ClassVar[tuple[str, ...]] = ("outer_steps", "outer_rate", "inner_steps", "inner_rate", "batch")
    in_label: ClassVar[Mapping[str, Any]] = {"alpha": None, "normalize": "objectives"}

    alpha: float = option(1.0, low=0, high=1)
    outer_steps: int = option(100, low=1)
    outer_rate: float = option(0.9, above=0)
    inner_steps: int = option(40, low=0)
    inner_rate: float = option(0.1, low=0, high=100)
    batch: int = option(0, low=0)
    normalize: str = option("objectives", choices=("objectives", "none"))
    gradient: str = option("batch", choices=NORMALIZE)
    start: str = option("opposite", choices=("opposite", "copy"))
    box: str = option("train", choices=("train", "domain"))

    def craft(self, key: Array, problem: Problem, resume: Poison | None = None) -> Iterator[Poison]:
        """See `Attack.craft`; where a first attack with alpha = 1 sets the scale, it is half of the work.

        Settings that differ in alpha alone share that first attack.
        """
        work, passes, count = self._schedule(problem), self._passes(problem), problem.settings
        if resume:
            work.check(resume, len(passes))
        poison = resume or self._start(key, problem)._replace(total=work.total * len(passes))
        clean_fit = self._clean_fit(key, problem)
        for number, one in enumerate(passes):
            own, state = of_settings(problem, one.chosen), entries_of(poison, one.chosen, count)
            if poison.done == number * work.total > 0:
                again = entries_of(self._start(key, problem), one.chosen, count)
                state = state._replace(x=again.x, y=again.y, loss=again.loss, trail=again.trail)
            fitted = clean_fit if count == 1 else jax.tree.map(lambda leaf, at=one.chosen: leaf[:, at], clean_fit)
            for part in work.parts(poison.done - number * work.total):
                for found in self._batch(key, own, state, part, one, fitted, many=count > 1):
                    state, poison = found, with_entries(poison, found, one.changed, one.source, count)
                    yield poison

    def settings_at_once(self, problem: Problem) -> int:
        """How many settings fit into the memory together."""
        return settings_that_fit(problem, self.inner_steps or problem.trainer.epochs)

    def joins(self) -> tuple[str, ...]:
        """In what settings that are solved together may differ, beside lambda; see `declared.OfAttack`."""
        return "alpha", "outer_rate", "inner_rate", "trainer.rate"

    def surrogate(self, victim: Trainer, rate: Array | float | None = None) -> SGD:
        """How the attacker trains; rate: its step size where it is not that of the options."""
        return SGD(self.inner_rate or victim.rate if rate is None else rate, self.inner_steps or victim.epochs)

    def _passes(self, problem: Problem) -> list[_Pass]:
        alpha, every = _option(problem, "alpha", self.alpha), np.arange(problem.settings)
        some = np.flatnonzero(alpha < 1)
        if self.normalize == "none" or not len(some):
            return [_Pass(every, alpha, False, every, every)]
        rates = [_option(problem, "outer_rate", self.outer_rate), self._inner_rates(problem)]
        by_setting = problem.log_lambda.reshape(-1, problem.settings, problem.log_lambda.shape[1]).swapaxes(0, 1)
        alike = np.column_stack([by_setting.reshape(problem.settings, -1), *rates])
        _, first, source = np.unique(alike, axis=0, return_index=True, return_inverse=True)
        return [
            _Pass(first, np.ones(len(first)), False, every, source.reshape(-1)),
            _Pass(some, alpha[some], True, some, np.arange(len(some))),
        ]

    def _schedule(self, problem: Problem) -> Schedule:
        trail = problem.train.x.shape[2] + 1
        return make_schedule(problem, self.surrogate(problem.trainer).epochs, self.outer_steps, trail=trail)

    def _inner_rates(self, problem: Problem) -> np.ndarray:
        """The step size of the attacker's training in each setting."""
        own = _option(problem, "inner_rate", self.inner_rate)
        return np.where(own > 0, own, _option(problem, "trainer.rate", problem.trainer.rate))

    def _trainer(self, problem: Problem, many: bool) -> SGD:
        if not many:
            return self.surrogate(problem.trainer)
        return self.surrogate(problem.trainer, jnp.asarray(self._inner_rates(problem), problem.train.x.dtype))

    def _clean_fit(self, key: Array, problem: Problem) -> CleanFit:
        """What the attacker believes of the clean rows, [repetitions], or of several settings each for itself."""
        log_lambda, many = jnp.asarray(problem.log_lambda), problem.settings > 1
        if many:
            log_lambda = log_lambda.reshape(-1, problem.settings, log_lambda.shape[1])
        keys = jax.random.split(jax.random.fold_in(key, 2), problem.train.y.shape[0])
        return fit_clean(keys, problem.objective, self._trainer(problem, many), problem.train, log_lambda)

    def _batch(
        self,
        key: Array,
        problem: Problem,
        poison: Poison,
        part: Part,
        one: _Pass,
        clean_fit: CleanFit,
        *,
        many: bool,
    ) -> Iterator[Poison]:
        """Optimize one batch, from outer step `part.first` on; many: with an axis for the settings."""
        work = self._schedule(problem)
        outer_state, slot = begin_stage(problem, poison, part)
        entries, batch, free = slot.entries if many else slot.entries[:, 0], slot.batch, slot.free
        outer_state = spread(outer_state if many else only_setting(outer_state))
        own, target = (
            jax.tree.map(lambda leaf: jnp.asarray(leaf[part.group]), whole) for whole in (clean_fit, problem.target)
        )
        keys = stage_keys(jax.random.fold_in(key, 1), part)
        trainer = self._trainer(problem, many)
        if one.relative and part.first == 0:  # what `poison.scales` remembers afterwards
            before = poisoned_before(problem, poison, part, entries)
            reference = damage(keys, problem.objective, trainer, before, outer_state.log_lambda, target)
            poison = poison._replace(scales=poison.scales.copy())
            poison.scales[entries, part.stage, 0] = reference
        tradeoff = self._tradeoff(problem, poison, part, one, entries)
        region = regions(problem, poison, part.group, batch)
        stage_problem = StageProblem(problem.objective, trainer, target, free, region=region)
        ascent = StealthyAscent(self.gradient, work.store, work.span)
        for t in range(part.first, self.outer_steps, work.span):
            outer_state, loss, trail = hyperiterations(
                keys, stage_problem, outer_state, own, tradeoff, jnp.asarray(t), ascent=ascent
            )
            x, y = outer_state.rows.blocks[-1].x[..., -free:, :], outer_state.rows.y[..., -free:]
            # a copy, for an interruption must not find it half-changed
            poison = poison._replace(
                **{name: getattr(poison, name).copy() for name in ("x", "y", "loss", "scales", "trail")}
            )
            poison.x[entries, batch], poison.y[entries, batch] = x, y
            poison.loss[entries, part.stage, t : t + work.span] = loss
            poison.trail[entries, part.stage, t : t + work.span] = trail
            if not one.relative and t + work.span == self.outer_steps:
                poison.scales[entries, part.stage, 1] = risks(problem.objective, own, x, y)
            poison = poison._replace(done=poison.done + work.span)
            yield poison

    def _start(self, key: Array, problem: Problem) -> Poison:
        begin = flipped_copies if self.start == "opposite" else copies
        poison = begin(jax.random.fold_in(key, 0), problem, self.outer_steps)
        entries, stages, steps = poison.loss.shape
        x, y = (np.repeat(leaf, problem.settings, axis=0) for leaf in (poison.x, poison.y))
        return poison._replace(
            x=x,
            y=y,
            scales=np.full((entries, stages, 2), np.nan, poison.x.dtype),
            trail=np.full((entries, stages, steps, poison.x.shape[2] + 1), np.nan, poison.x.dtype),
        )

    def _tradeoff(self, problem: Problem, poison: Poison, part: Part, one: _Pass, entries: np.ndarray) -> Tradeoff:
        """What the batch climbs, with the axes of `entries`."""
        kind = problem.train.x.dtype
        scales, ones = poison.scales[entries], np.ones(entries.shape, kind)
        return Tradeoff(
            alpha=jnp.asarray(one.alpha * ones, kind),
            damage_ref=jnp.asarray(scales[..., part.stage, 0] if one.relative else ones),
            risk_ref=jnp.asarray(np.nanmax(scales[..., 1], axis=-1) if one.relative else ones),
            rate=jnp.asarray(_option(problem, "outer_rate", self.outer_rate) * ones, kind),
            **{name: jnp.asarray(bound[part.group], kind) for name, bound in self._box(problem).items()},
        )

    def _box(self, problem: Problem) -> dict[str, np.ndarray]:
        """Bounds of features [repetitions, m] and targets [repetitions]."""
        x, y, _ = (np.asarray(leaf) for leaf in problem.train)
        threat = problem.threat
        if self.box == "train":
            return {"low": x.min(1), "high": x.max(1), "y_low": y.min(1), "y_high": y.max(1)}
        whole = {"low": threat.low, "high": threat.high, "y_low": threat.y_low, "y_high": threat.y_high}
        shapes = {"low": x[:, 0].shape, "high": x[:, 0].shape, "y_low": y[:, 0].shape, "y_high": y[:, 0].shape}
        return {name: np.broadcast_to(np.asarray(bound), shapes[name]) for name, bound in whole.items()}


def _option(problem: Problem, name: str, value: float) -> np.ndarray:
    """An option for each setting, which `value` is for all that do not differ in it."""
    return np.broadcast_to(np.asarray(problem.varied.get(name, value), float), problem.settings)
