"""Hypergradients: how the target loss of the trained victim moves with the free rows and log_lambda."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.core.train import SGD, Objective, Rows, add_to_first, gradient, products, pull_back, update
from poisoncli.core.types import Array, Data, Params


class Hypergradient(NamedTuple):
    """Target loss (scalar), its gradients for the free rows [k, m] and for log_lambda, and the parameters."""

    loss: Array
    x: Array
    log_lambda: Array
    params: Params


def reverse(
    objective: Objective,
    trainer: SGD,
    params: Params,
    log_lambda: Array,
    rows: Rows,
    target: Data,
    free: int,
    store: bool,
) -> Hypergradient:
    """Reverse-mode differentiation through all training steps (HLP Algorithm 1, for any Optax optimizer).

    The last `free` rows (at least 1, all in the last block) are the ones differentiated. `store` keeps the
    first layer's products of every step, n * width numbers each; otherwise they are computed again.

    For a step s' = U(s, g(w, x)) with adjoint a of s', the backward step takes (a_s, v) from U's own vjp and
    adds the gradient of the scalar <v, g(w, x)>: the Hessian-vector products of Algorithm 1, lines 8-10.
    The features' gradient is a sum over the steps of two outer products each; the factors are kept and
    multiplied once at the end.
    """

    def forward_step(state: tuple, _: None) -> tuple[tuple, tuple]:
        grads, h = gradient(objective, state[0], log_lambda, rows)
        return update(trainer, state, grads), (state, grads, h if store else None)

    start = (params, trainer.optimizer().init(params))
    (trained, inner), trace = jax.lax.scan(forward_step, start, None, length=trainer.epochs)
    loss, adjoint = jax.value_and_grad(objective.clean_loss)(trained, target)

    def backward_step(carry: tuple, saved: tuple) -> tuple[tuple, tuple]:
        adjoint, total = carry
        state, grads, h = saved
        _, pull = jax.vjp(lambda s, g: update(trainer, s, g), state, grads)
        adjoint, v = pull(jax.tree.map(_to_cotangent, adjoint))
        adjoint = jax.tree.map(_from_cotangent, adjoint, state)
        weights, h = state[0], products(state[0][0]["w"], rows) if h is None else h
        second = _second_order(objective, weights, v, h, log_lambda, rows)
        direct, d_h, d_lambda, d_vh = second
        direct = add_to_first(direct, pull_back(d_h, rows, v[0]["w"].shape[1]))
        adjoint = (jax.tree.map(jnp.add, adjoint[0], direct), adjoint[1])
        factors = (d_h[-free:], weights[0]["w"], d_vh[-free:], v[0]["w"])
        return (adjoint, total + d_lambda), factors

    ends = ((adjoint, jax.tree.map(jnp.zeros_like, inner)), jnp.zeros_like(log_lambda))
    (_, d_lambda), (d_h, w, d_vh, v) = jax.lax.scan(backward_step, ends, trace, reverse=True)
    d_x = jnp.einsum("tkw,twm->km", d_h, w) + jnp.einsum("tkw,twm->km", d_vh, v)
    return Hypergradient(loss, d_x, d_lambda, trained)


def _to_cotangent(adjoint: Array) -> Array:
    """Integers in an optimizer's state (Adam counts its steps) have cotangents of JAX's type for no tangent."""
    return adjoint if jnp.issubdtype(adjoint.dtype, jnp.inexact) else np.zeros(adjoint.shape, jax.dtypes.float0)


def _from_cotangent(adjoint: Array, state: Array) -> Array:
    """The inverse of `_to_cotangent`, in the types of `state`: a scan cannot carry that type."""
    return jnp.zeros_like(state) if adjoint.dtype == jax.dtypes.float0 else adjoint


def _second_order(
    objective: Objective, params: Params, v: Params, h: Array, log_lambda: Array, rows: Rows
) -> tuple[Params, Array, Array, Array]:
    """Gradients of <v, gradient(params)> for the parameters, h = x w, log_lambda and vh = x v.

    The first layer is linear, so the directional derivative of the objective along v is that of
    `Objective.value` along (v, x v).
    """

    def slope(params: Params, h: Array, log_lambda: Array, vh: Array) -> Array:
        def value(p: Params, q: Array) -> Array:
            return objective.value(p, q, log_lambda, rows)

        return jax.jvp(value, (params, h), (v, vh))[1]

    return jax.grad(slope, argnums=(0, 1, 2, 3))(params, h, log_lambda, products(v[0]["w"], rows))
