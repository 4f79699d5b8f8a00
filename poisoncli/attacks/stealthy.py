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
from poisoncli.bilevel.schedule import Part, Schedule, make_schedule
from poisoncli.bilevel.stage import begin_stage, only_setting, poisoned_before, spread, stage_keys
from poisoncli.bilevel.stealth import CleanFit, StealthyAscent, Tradeoff, damage, fit_clean, hyperiterations, risk
from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Array, Task
from poisoncli.core.method import method, option
from poisoncli.training.trainers import SGD


class _Pass(NamedTuple):
    """One attack on all batches: with weight alpha on the damage; `relative`: with both objectives normalized."""

    alpha: float
    relative: bool


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
        """See `Attack.craft`; where a first attack with alpha = 1 sets the scale, it is half of the work."""
        work = self._schedule(problem)
        passes = [_Pass(self.alpha, False)]
        if self.normalize == "objectives" and self.alpha < 1:
            passes = [_Pass(1.0, False), _Pass(self.alpha, True)]
        if resume:
            work.check(resume, len(passes))
        poison = resume or self._start(key, problem)._replace(total=work.total * len(passes))
        trainer = SGD(self.inner_rate, self.inner_steps)
        keys = jax.random.split(jax.random.fold_in(key, 2), problem.train.y.shape[0])
        log_lambda = jnp.asarray(problem.log_lambda)
        clean_fit = fit_clean(keys, problem.objective, trainer, problem.train, log_lambda)
        for number, one in enumerate(passes):
            if poison.done == number * work.total > 0:
                again = self._start(key, problem)
                poison = poison._replace(x=again.x, y=again.y, loss=again.loss, trail=again.trail)
            for part in work.parts(poison.done - number * work.total):
                for state in self._batch(key, problem, poison, part, one, clean_fit):
                    poison = state
                    yield poison

    def _schedule(self, problem: Problem) -> Schedule:
        trail = problem.train.x.shape[2] + 1
        return make_schedule(problem, self.inner_steps, self.outer_steps, trail=trail)

    def _batch(
        self, key: Array, problem: Problem, poison: Poison, part: Part, one: _Pass, clean_fit: CleanFit
    ) -> Iterator[Poison]:
        """Optimize one batch, from outer step `part.first` on."""
        work = self._schedule(problem)
        outer_state, slot = begin_stage(problem, poison, part)
        outer_state, batch, free = spread(only_setting(outer_state)), slot.batch, slot.free
        own, target = (
            jax.tree.map(lambda leaf: jnp.asarray(leaf[part.group]), whole) for whole in (clean_fit, problem.target)
        )
        keys = stage_keys(jax.random.fold_in(key, 1), part)
        trainer = SGD(self.inner_rate, self.inner_steps)
        if one.relative and part.first == 0:  # what `poison.scales` remembers afterwards
            before = poisoned_before(problem, poison, part)
            reference = damage(keys, problem.objective, trainer, before, outer_state.log_lambda, target)
            poison = poison._replace(scales=poison.scales.copy())
            poison.scales[part.group, part.stage, 0] = reference
        tradeoff = self._tradeoff(problem, poison, part, one)
        region = regions(problem, poison, part.group, batch)
        stage_problem = StageProblem(problem.objective, trainer, target, free, region=region)
        ascent = StealthyAscent(self.gradient, work.store, work.span)
        for t in range(part.first, self.outer_steps, work.span):
            outer_state, loss, trail = hyperiterations(
                keys, stage_problem, outer_state, own, tradeoff, jnp.asarray(t), ascent=ascent
            )
            x, y = outer_state.rows.blocks[-1].x[:, -free:], outer_state.rows.y[:, -free:]
            # a copy, for an interruption must not find it half-changed
            poison = poison._replace(
                **{name: getattr(poison, name).copy() for name in ("x", "y", "loss", "scales", "trail")}
            )
            poison.x[part.group, batch], poison.y[part.group, batch] = x, y
            poison.loss[part.group, part.stage, t : t + work.span] = loss
            poison.trail[part.group, part.stage, t : t + work.span] = trail
            if not one.relative and t + work.span == self.outer_steps:
                risks = jax.vmap(lambda b, x, y: risk(problem.objective, b, x, y))(own, x, y)
                poison.scales[part.group, part.stage, 1] = risks
            poison = poison._replace(done=poison.done + work.span)
            yield poison

    def _start(self, key: Array, problem: Problem) -> Poison:
        begin = flipped_copies if self.start == "opposite" else copies
        poison = begin(jax.random.fold_in(key, 0), problem, self.outer_steps)
        repetitions, stages, steps = poison.loss.shape
        return poison._replace(
            scales=np.full((repetitions, stages, 2), np.nan, poison.x.dtype),
            trail=np.full((repetitions, stages, steps, poison.x.shape[2] + 1), np.nan, poison.x.dtype),
        )

    def _tradeoff(self, problem: Problem, poison: Poison, part: Part, one: _Pass) -> Tradeoff:
        """What the batch climbs, with a leading repetition axis."""
        kind = problem.train.x.dtype
        scales = poison.scales[part.group]
        ones = np.ones(len(scales), kind)
        return Tradeoff(
            alpha=jnp.asarray(one.alpha * ones, kind),
            damage_ref=jnp.asarray(scales[:, part.stage, 0] if one.relative else ones),
            risk_ref=jnp.asarray(np.nanmax(scales[:, :, 1], axis=1) if one.relative else ones),
            rate=jnp.asarray(self.outer_rate * ones, kind),
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
