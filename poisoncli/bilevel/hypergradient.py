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

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from poisoncli.bilevel.bilevel_problem import BilevelProblem, Hypergradient
from poisoncli.bilevel.reverse import reverse
from poisoncli.core.data import Array, Params
from poisoncli.core.victim import Objective, Rows
from poisoncli.training.descent import fit
from poisoncli.training.layout import free_rows, replace_free, seen_by

Slope = Callable[[Params, Array, Array], Params]  # a gradient, of parameters, free rows and log_lambda
NAMES = ("reverse", "forward", "cg", "exact")


@dataclasses.dataclass(frozen=True)
class HypergradientMethod:
    """Which hypergradient, and its settings.

    name: one of `NAMES`. store, segments: see `reverse`. last: training steps to differentiate through in
    `reverse`, 0 for all. tolerance, iterations: where `cg` stops.
    """

    name: str = "reverse"
    store: bool = True
    last: int = 0
    tolerance: float = 1e-6
    iterations: int = 200
    segments: int = 1

    def __call__(self, problem: BilevelProblem) -> Hypergradient:
        """The hypergradient for the free rows and log_lambda."""
        if self.name == "reverse":
            return reverse(problem, self.store, self.last, segments=self.segments)
        cg = functools.partial(conjugate_gradient, tolerance=self.tolerance, iterations=self.iterations)
        find = {"forward": forward, "cg": cg, "exact": exact}[self.name]
        found = find(problem)
        if problem.trusted is None:
            return found
        row_loss = dataclasses.replace(problem.objective, outer=None)
        learner = find(dataclasses.replace(problem, objective=row_loss, target=problem.trusted))
        return found._replace(log_lambda=learner.log_lambda)


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
        return objective.value(params, seen_by(objective.model, params, moved), log_lambda, moved)

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
