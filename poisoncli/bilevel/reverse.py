"""Reverse-mode hypergradients; for a model whose first layer is linear by that layer's products."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from poisoncli.bilevel.bilevel_problem import BilevelProblem, Hypergradient
from poisoncli.bilevel.places import Places, places_of
from poisoncli.bilevel.unrolled import through_update, unrolled
from poisoncli.core.data import Array, Params
from poisoncli.core.victim import Objective, Rows, is_linear_first
from poisoncli.training.descent import add_to_first, step_gradient, update, with_some_weight
from poisoncli.training.layout import products, pull_back
from poisoncli.training.minibatches import rows_of_step
from poisoncli.training.trainers import steps_of


def reverse(
    problem: BilevelProblem, store: bool, last: int = 0, with_y: bool = False, segments: int = 1
) -> Hypergradient:
    """Reverse-mode differentiation through all training steps (HLP Algorithm 1, for any Optax optimizer).

    `store` keeps the first layer's products of every step, n * width numbers each; otherwise they are computed
    again. `last` truncates: only so many steps, the last ones, are differentiated through; 0 means all. `with_y`
    asks for the gradient of the free rows' targets too (SPR Algorithm 3). One backward pass serves the target and
    the trusted rows. segments: see `unrolled`, which takes models whose first layer is not linear.
    """
    objective = problem.objective
    if not is_linear_first(objective.model):
        return unrolled(problem, last, with_y, segments)
    seen_at = rows_of_step(problem.rows, problem.trainer)
    places = places_of(problem.trainer, problem.rows.y.shape[0], problem.free)
    trained, inner, trace = _train(problem, seen_at, store, last)
    loss, adjoint = jax.value_and_grad(objective.clean_loss)(trained, problem.target)

    def backward(adjoint: Params) -> tuple[tuple, tuple]:
        no_y = jnp.zeros(problem.free, problem.rows.y.dtype) if with_y else None
        ends = ((adjoint, jax.tree.map(jnp.zeros_like, inner)), (jnp.zeros_like(problem.log_lambda), no_y))
        (_, sums), factors = jax.lax.scan(
            functools.partial(_step_back, problem, seen_at, places), ends, trace, reverse=True
        )
        return sums, factors

    if problem.trusted is None:
        (d_lambda, d_y), factors = backward(adjoint)
    else:
        learner = jax.grad(dataclasses.replace(objective, outer=None).clean_loss)(trained, problem.trusted)
        both = jax.vmap(backward)(jax.tree.map(lambda *leaves: jnp.stack(leaves), adjoint, learner))
        (_, d_y), factors = jax.tree.map(lambda leaf: leaf[0], both)
        d_lambda = both[0][0][1]
    return Hypergradient(loss, places.total(*factors), d_lambda, trained, jnp.zeros_like(loss), d_y)


def _train(
    problem: BilevelProblem, seen_at: Callable[[Array], Rows], store: bool, last: int
) -> tuple[Params, Array, tuple]:
    """The trained parameters, the optimizer's state, and what the last `last` steps leave to `_step_back`."""
    trainer = problem.trainer
    total = steps_of(trainer, problem.rows.y.shape[0])
    steps = jnp.arange(total)
    undifferentiated = total - min(last or total, total)

    def forward_step(state: tuple, t: Array) -> tuple[tuple, tuple]:
        grads, h = step_gradient(problem.objective, state[0], problem.log_lambda, seen_at(t), trainer)
        return update(trainer, state, grads, total), (state, grads, h if store else None, t)

    def plain_step(state: tuple, t: Array) -> tuple[tuple, None]:
        return forward_step(state, t)[0], None

    start = (problem.params, trainer.optimizer(total).init(problem.params))
    start, _ = jax.lax.scan(plain_step, start, steps[:undifferentiated])
    (trained, inner), trace = jax.lax.scan(forward_step, start, steps[undifferentiated:])
    return trained, inner, trace


def _step_back(
    problem: BilevelProblem, seen_at: Callable[[Array], Rows], places: Places, carry: tuple, saved: tuple
) -> tuple[tuple, tuple]:
    """One training step backwards: the adjoint before it, the sums so far, and factors of the free rows' gradient.

    For a step s' = U(s, g(w, x)) with adjoint a of s', it takes (a_s, v) from U's own vjp and adds the gradient of
    the scalar <v, g(w, x)>: the Hessian-vector products of Algorithm 1, lines 8-10. The features' gradient is a
    sum over the steps of two outer products each; the factors are kept and multiplied once at the end.
    """
    trainer = problem.trainer
    total = steps_of(trainer, problem.rows.y.shape[0])
    adjoint, (sum_lambda, sum_y) = carry
    state, grads, h, t = saved
    adjoint, v = through_update(trainer, total, adjoint, state, grads)
    weights, rows = state[0], seen_at(t)
    if trainer.size:  # see `step_gradient`
        rows, seen = with_some_weight(rows)
        v = jax.tree.map(lambda leaf: jnp.where(seen, leaf, jnp.zeros_like(leaf)), v)
    h = products(weights[0]["w"], rows) if h is None else h
    direct, d_h, d_lambda, d_vh, d_y = _second_order(problem.objective, weights, v, h, problem.log_lambda, rows)
    direct = add_to_first(direct, pull_back(d_h, rows, v[0]["w"].shape[1]))
    adjoint = (jax.tree.map(jnp.add, adjoint[0], direct), adjoint[1])
    factors = (places.pick(d_h, t), weights[0]["w"], places.pick(d_vh, t), v[0]["w"])
    moved = sum_y + places.each(d_y, t) if sum_y is not None else None
    return (adjoint, (sum_lambda + d_lambda, moved)), factors


def _second_order(
    objective: Objective, params: Params, v: Params, h: Array, log_lambda: Array, rows: Rows
) -> tuple[Params, Array, Array, Array, Array]:
    """Gradients of <v, gradient(params)> for the parameters, h = x w, log_lambda, vh = x v and the targets.

    The first layer is linear, so the directional derivative of the objective along v is that of
    `Objective.value` along (v, x v).
    """

    def slope(params: Params, h: Array, log_lambda: Array, vh: Array, y: Array) -> Array:
        def value(p: Params, q: Array) -> Array:
            return objective.value(p, q, log_lambda, rows._replace(y=y))

        return jax.jvp(value, (params, h), (v, vh))[1]

    return jax.grad(slope, argnums=(0, 1, 2, 3, 4))(params, h, log_lambda, products(v[0]["w"], rows), rows.y)
