"""Reverse mode for any model: rows as they are, and a trace that may be computed again in segments."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.bilevel.bilevel_problem import BilevelProblem, Hypergradient
from poisoncli.bilevel.places import Places, places_of
from poisoncli.core.data import Array, Params
from poisoncli.core.victim import Rows, Trainer
from poisoncli.training.descent import step_gradient, update, with_some_weight
from poisoncli.training.layout import merged
from poisoncli.training.minibatches import rows_of_step
from poisoncli.training.trainers import batches_of, steps_of


def unrolled(problem: BilevelProblem, last: int, with_y: bool, segments: int) -> Hypergradient:
    """Reverse-mode differentiation through the last `last` training steps (HLP Algorithm 1); 0 means all.

    The parameters before every step are kept, 2 T d numbers; or in `segments` > 1 those at the start of each, and a
    segment's own are computed again when the backward pass comes to it: (segments + 2 T / segments) d numbers, for
    one more training (Griewank 1992).
    """
    problem = dataclasses.replace(problem, rows=merged(problem.rows))
    objective, trainer, n = problem.objective, problem.trainer, problem.rows.y.shape[0]
    seen_at, total = rows_of_step(problem.rows, trainer), steps_of(trainer, n)
    steps, differentiated = jnp.arange(total), min(last or total, total)
    length = -(-differentiated // segments)
    whole, rest = divmod(differentiated, length)

    def step(state: tuple, t: Array) -> tuple[tuple, tuple]:
        grads, _ = step_gradient(objective, state[0], problem.log_lambda, seen_at(t), trainer)
        return update(trainer, state, grads, total), (state, grads, t)

    def advance(state: tuple, some: Array) -> tuple[tuple, tuple]:
        """The state after some steps, and the one before; none is not even compiled."""
        if not len(some):
            return state, state
        return jax.lax.scan(lambda *at: (step(*at)[0], None), state, some)[0], state

    start = (problem.params, trainer.optimizer(total).init(problem.params))
    start, _ = advance(start, steps[: total - differentiated])
    odd = steps[total - differentiated : total - whole * length]
    middle, _ = advance(start, odd)
    segment_steps = steps[total - whole * length :].reshape(whole, length)
    if whole == 1:
        end, trace = jax.lax.scan(step, middle, segment_steps[0])
    else:
        end, trace = jax.lax.scan(advance, middle, segment_steps)
    loss, adjoint = jax.value_and_grad(objective.clean_loss)(end[0], problem.target)
    back = functools.partial(_step_back, problem, seen_at, places_of(trainer, n, problem.free))

    def segment_back(carry: tuple, saved: tuple) -> tuple[tuple, None]:
        return jax.lax.scan(back, carry, jax.lax.scan(step, *saved)[1], reverse=True)[0], None

    def backward(adjoint: Params) -> tuple:
        free_x = jnp.zeros_like(problem.rows.blocks[0].x[-problem.free :])
        sums = (free_x, jnp.zeros_like(problem.log_lambda), jnp.zeros(problem.free, problem.rows.y.dtype))
        carry = ((adjoint, jax.tree.map(jnp.zeros_like, end[1])), sums)
        if whole == 1:
            carry, _ = jax.lax.scan(back, carry, trace, reverse=True)
        else:
            carry, _ = jax.lax.scan(segment_back, carry, (trace, segment_steps), reverse=True)
        return segment_back(carry, (start, odd))[0][1] if rest else carry[1]

    if problem.trusted is None:
        d_x, d_lambda, d_y = backward(adjoint)
    else:
        learner = jax.grad(dataclasses.replace(objective, outer=None).clean_loss)(end[0], problem.trusted)
        both = jax.vmap(backward)(jax.tree.map(lambda *leaves: jnp.stack(leaves), adjoint, learner))
        d_x, d_lambda, d_y = both[0][0], both[1][1], both[2][0]
    return Hypergradient(loss, d_x, d_lambda, end[0], jnp.zeros_like(loss), d_y if with_y else None)


def _step_back(
    problem: BilevelProblem, seen_at: Callable[[Array], Rows], places: Places, carry: tuple, saved: tuple
) -> tuple[tuple, None]:
    """One training step backwards, see `reverse`: the adjoint before it, and the sums for x, log_lambda and y.

    Where a step sees all rows, the outputs of the free ones are computed apart, and only they are differentiated.
    """
    trainer, objective = problem.trainer, problem.objective
    apart = batches_of(trainer, problem.rows.y.shape[0]) == 1
    adjoint, (sum_x, sum_lambda, sum_y) = carry
    state, grads, t = saved
    adjoint, v = through_update(trainer, steps_of(trainer, problem.rows.y.shape[0]), adjoint, state, grads)
    rows = seen_at(t)
    if trainer.size:  # see `step_gradient`
        rows, seen = with_some_weight(rows)
        v = jax.tree.map(lambda leaf: jnp.where(seen, leaf, jnp.zeros_like(leaf)), v)

    def slope(params: Params, x: Array, log_lambda: Array, y: Array) -> Array:
        def value(p: Params) -> Array:
            output = objective.model.output(p, x)
            if apart:
                output = jnp.concatenate([objective.model.output(p, seen_x[: -problem.free]), output])
            return objective.of_outputs(output, p, log_lambda, rows._replace(y=y))

        return jax.jvp(value, (params,), (v,))[1]

    seen_x = rows.blocks[0].x
    moving = seen_x[-problem.free :] if apart else seen_x
    direct, d_x, d_lambda, d_y = jax.grad(slope, argnums=(0, 1, 2, 3))(state[0], moving, problem.log_lambda, rows.y)
    d_x = d_x if apart else places.each(d_x, t)
    adjoint = (jax.tree.map(jnp.add, adjoint[0], direct), adjoint[1])
    return (adjoint, (sum_x + d_x, sum_lambda + d_lambda, sum_y + places.each(d_y, t))), None


def through_update(
    trainer: Trainer, total: int, adjoint: tuple, state: tuple, grads: Params
) -> tuple[tuple, Params]:
    """The adjoint of the state before an optimizer step, and of the gradient that the step took."""
    _, pull = jax.vjp(lambda s, g: update(trainer, s, g, total), state, grads)
    adjoint, v = pull(jax.tree.map(_to_cotangent, adjoint))
    return jax.tree.map(_from_cotangent, adjoint, state), v


def _to_cotangent(adjoint: Array) -> Array:
    """Integers in an optimizer's state (Adam counts its steps) have cotangents of JAX's type for no tangent."""
    return adjoint if jnp.issubdtype(adjoint.dtype, jnp.inexact) else np.zeros(adjoint.shape, jax.dtypes.float0)


def _from_cotangent(adjoint: Array, state: Array) -> Array:
    """The inverse of `_to_cotangent`, in the types of `state`: a scan cannot carry that type."""
    return jnp.zeros_like(state) if adjoint.dtype == jax.dtypes.float0 else adjoint
