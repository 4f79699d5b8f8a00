"""Hypergradients: how the target loss of the trained victim moves with the free rows and log_lambda.

The methods of HLP Table II stand side by side. With d parameters, T training steps, and q = k m + h numbers to
differentiate for (k free rows of m features and h lambdas), they take, beside the training itself:

    reverse   time O(T d),    space O(q + T d)
    forward   time O(q T d),  space O(q d)
    cg        time O((T + sqrt(condition number)) d), space O(q + d); the training must have converged
    exact     time O(d^3),    space O(d^2); the training must have converged
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from poisoncli.core.data import Array, Data, Params
from poisoncli.core.victim import Objective, Rows, Trainer
from poisoncli.training.descent import add_to_first, fit, step_gradient, update, with_some_weight
from poisoncli.training.layout import free_rows, products, pull_back, replace_free
from poisoncli.training.minibatches import FreeRows, free_places, rows_of_step
from poisoncli.training.trainers import batches_of, steps_of

Slope = Callable[[Params, Array, Array], Params]  # a gradient, of parameters, free rows and log_lambda
NAMES = ("reverse", "forward", "cg", "exact")


class Hypergradient(NamedTuple):
    """Target loss (scalar), its gradients for the free rows [k, m] and for log_lambda, and the parameters.

    residual: of the linear system in `cg` and `exact`, ||H v - a|| / ||a||; 0 where none is solved.
    y: the gradient for the targets of the free rows [k], where `reverse` was asked for it.
    """

    loss: Array
    x: Array
    log_lambda: Array
    params: Params
    residual: Array
    y: Array | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BilevelProblem:
    """What a hypergradient is of: the target loss of the victim that `trainer` makes of `params` on `rows`.

    log_lambda: [h]. free: how many rows are differentiated for, the last ones of the last block, at least 1.
    trusted: rows whose row loss log_lambda is differentiated for, in place of the target (HLP eq. 2).
    """

    objective: Objective
    trainer: Trainer
    params: Params
    log_lambda: Array
    rows: Rows
    target: Data
    free: int = dataclasses.field(metadata={"static": True})
    trusted: Data | None = None


@dataclasses.dataclass(frozen=True)
class HypergradientMethod:
    """Which hypergradient, and its settings.

    name: one of `NAMES`. store: see `reverse`. last: training steps to differentiate through in `reverse`, 0 for
    all. tolerance, iterations: where `cg` stops.
    """

    name: str = "reverse"
    store: bool = True
    last: int = 0
    tolerance: float = 1e-6
    iterations: int = 200

    def __call__(self, problem: BilevelProblem) -> Hypergradient:
        """The hypergradient for the free rows and log_lambda."""
        if self.name == "reverse":
            return reverse(problem, self.store, self.last)
        cg = functools.partial(conjugate_gradient, tolerance=self.tolerance, iterations=self.iterations)
        find = {"forward": forward, "cg": cg, "exact": exact}[self.name]
        found = find(problem)
        if problem.trusted is None:
            return found
        row_loss = dataclasses.replace(problem.objective, outer=None)
        learner = find(dataclasses.replace(problem, objective=row_loss, target=problem.trusted))
        return found._replace(log_lambda=learner.log_lambda)


def reverse(problem: BilevelProblem, store: bool, last: int = 0, with_y: bool = False) -> Hypergradient:
    """Reverse-mode differentiation through all training steps (HLP Algorithm 1, for any Optax optimizer).

    `store` keeps the first layer's products of every step, n * width numbers each; otherwise they are computed
    again. `last` truncates: only so many steps, the last ones, are differentiated through; 0 means all. `with_y`
    asks for the gradient of the free rows' targets too (SPR Algorithm 3). One backward pass serves the target and
    the trusted rows.
    """
    objective = problem.objective
    seen_at = rows_of_step(problem.rows, problem.trainer)
    places = _places(problem)
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
    problem: BilevelProblem, seen_at: Callable[[Array], Rows], places: _Places, carry: tuple, saved: tuple
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
    _, pull = jax.vjp(lambda s, g: update(trainer, s, g, total), state, grads)
    adjoint, v = pull(jax.tree.map(_to_cotangent, adjoint))
    adjoint = jax.tree.map(_from_cotangent, adjoint, state)
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


class _Places(Protocol):
    """Where the free rows stand among the rows of a training step."""

    def pick(self, d: Array, t: Array) -> Array:
        """Of d [rows of step t, width] what belongs to free rows, [k, width] with the same k in each step."""
        ...

    def each(self, d: Array, t: Array) -> Array:
        """Of d [rows of step t] what belongs to each free row [free], 0 for those that the step does not see."""
        ...

    def total(self, d_h: Array, w: Array, d_vh: Array, v: Array) -> Array:
        """The sum over the steps of d_h^T w + d_vh^T v for each free row, [free, m]; d_h, d_vh from `pick`."""
        ...


class _Last(NamedTuple):
    """They stand last in every step."""

    free: int

    def pick(self, d: Array, t: Array) -> Array:
        return d[-self.free :]

    def each(self, d: Array, t: Array) -> Array:
        return d[-self.free :]

    def total(self, d_h: Array, w: Array, d_vh: Array, v: Array) -> Array:
        return jnp.einsum("tkw,twm->km", d_h, w) + jnp.einsum("tkw,twm->km", d_vh, v)


class _Scattered(NamedTuple):
    """They stand in several mini-batches."""

    at: FreeRows

    def pick(self, d: Array, t: Array) -> Array:
        return d[jnp.asarray(self.at.table)[t % len(self.at.table)]]

    def each(self, d: Array, t: Array) -> Array:
        return jnp.where(self.at.batch == t % len(self.at.table), d[self.at.position], jnp.zeros((), d.dtype))

    def total(self, d_h: Array, w: Array, d_vh: Array, v: Array) -> Array:
        batches = len(self.at.table)
        missing = -d_h.shape[0] % batches  # steps of the first pass that were not differentiated through

        def by_batch(leaf: Array) -> Array:
            whole = jnp.pad(leaf, ((missing, 0), (0, 0), (0, 0))) if missing else leaf
            return whole.reshape(-1, batches, *leaf.shape[1:])

        d_h, w, d_vh, v = map(by_batch, (d_h, w, d_vh, v))
        sums = jnp.einsum("ebkw,ebwm->bkm", d_h, w) + jnp.einsum("ebkw,ebwm->bkm", d_vh, v)
        return sums[self.at.batch, self.at.slot]


def _places(problem: BilevelProblem) -> _Places:
    n, size = problem.rows.y.shape[0], problem.trainer.size
    return (
        _Last(problem.free)
        if batches_of(problem.trainer, n) == 1
        else _Scattered(free_places(n, size, problem.free))
    )


def _to_cotangent(adjoint: Array) -> Array:
    """Integers in an optimizer's state (Adam counts its steps) have cotangents of JAX's type for no tangent."""
    return adjoint if jnp.issubdtype(adjoint.dtype, jnp.inexact) else np.zeros(adjoint.shape, jax.dtypes.float0)


def _from_cotangent(adjoint: Array, state: Array) -> Array:
    """The inverse of `_to_cotangent`, in the types of `state`: a scan cannot carry that type."""
    return jnp.zeros_like(state) if adjoint.dtype == jax.dtypes.float0 else adjoint


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


def forward(problem: BilevelProblem) -> Hypergradient:
    """Forward-mode differentiation: the parameters' derivatives for every free number travel with the training.

    For few free numbers: it keeps a derivative of every parameter for every one of them.
    """

    def outcome(x: Array, log_lambda: Array) -> tuple[Array, tuple[Array, Params]]:
        rows = replace_free(problem.rows, x)
        trained = fit(problem.objective, problem.trainer, problem.params, log_lambda, rows)
        loss = problem.objective.clean_loss(trained, problem.target)
        return loss, (loss, trained)

    jacobian = jax.jacfwd(outcome, argnums=(0, 1), has_aux=True)
    (d_x, d_lambda), (loss, trained) = jacobian(free_rows(problem.rows, problem.free), problem.log_lambda)
    return Hypergradient(loss, d_x, d_lambda, trained, jnp.zeros_like(loss))


def conjugate_gradient(problem: BilevelProblem, tolerance: float, iterations: int) -> Hypergradient:
    """Implicit hypergradient at the trained parameters, H v = a by conjugate gradients (HLP eqs. 4 and 5).

    H is the objective's Hessian, used through its products with vectors alone; a is the target loss' gradient.
    """
    objective, rows, log_lambda = problem.objective, problem.rows, problem.log_lambda
    trained = fit(objective, problem.trainer, problem.params, log_lambda, rows)
    slope = _slope(objective, rows)
    x = free_rows(rows, problem.free)

    def times(v: Params) -> Params:
        return jax.jvp(lambda p: slope(p, x, log_lambda), (trained,), (v,))[1]

    loss, a = jax.value_and_grad(objective.clean_loss)(trained, problem.target)
    v, _ = jax.scipy.sparse.linalg.cg(times, a, tol=tolerance, maxiter=iterations)
    return _implicit(slope, trained, x, log_lambda, v, loss, _residual(times(v), a))


def exact(problem: BilevelProblem) -> Hypergradient:
    """Implicit hypergradient at the trained parameters, with the Hessian written out and solved (HLP eq. 4)."""
    objective, rows, log_lambda = problem.objective, problem.rows, problem.log_lambda
    trained = fit(objective, problem.trainer, problem.params, log_lambda, rows)
    slope = _slope(objective, rows)
    x = free_rows(rows, problem.free)
    flat, shape = ravel_pytree(trained)
    hessian = jax.jacfwd(lambda p: ravel_pytree(slope(shape(p), x, log_lambda))[0])(flat)
    loss, a = jax.value_and_grad(objective.clean_loss)(trained, problem.target)
    right = ravel_pytree(a)[0]
    # logits of classes may all rise by the same, which changes nothing: their Hessian is singular
    v = jnp.linalg.solve(hessian, right) if objective.outputs == 1 else jnp.linalg.lstsq(hessian, right)[0]
    return _implicit(slope, trained, x, log_lambda, shape(v), loss, _residual(hessian @ v, right))


def _slope(objective: Objective, rows: Rows) -> Slope:
    """The objective's gradient for the parameters, as a function of parameters, free rows and log_lambda."""

    def value(params: Params, x: Array, log_lambda: Array) -> Array:
        moved = replace_free(rows, x)
        return objective.value(params, products(params[0]["w"], moved), log_lambda, moved)

    return jax.grad(value)


def _implicit(
    slope: Slope, trained: Params, x: Array, log_lambda: Array, v: Params, loss: Array, residual: Array
) -> Hypergradient:
    """-(d gradient / d free)^T v, for free rows and log_lambda (HLP eq. 4)."""
    _, pull = jax.vjp(lambda x, log_lambda: slope(trained, x, log_lambda), x, log_lambda)
    d_x, d_lambda = pull(v)
    return Hypergradient(loss, -d_x, -d_lambda, trained, residual)


def _residual(found: Params | Array, wanted: Params | Array) -> Array:
    left, right = ravel_pytree(found)[0], ravel_pytree(wanted)[0]
    return jnp.linalg.norm(left - right) / jnp.linalg.norm(right)
