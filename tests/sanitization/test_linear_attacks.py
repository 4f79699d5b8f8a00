"""Victims at their optimum, decoys, the KKT points and the collapse, against direct computation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

from poisoncli.attacks.influence import influence
from poisoncli.attacks.kkt import target_gradient, two_points
from poisoncli.core.errors import FailedError
from poisoncli.sanitization import hessian_solve
from poisoncli.sanitization.additive import SIGNS, LinearProblem, Rows, capped, damage, evading_set, rounded, stack
from poisoncli.sanitization.collapse import collapse
from poisoncli.sanitization.decoys import Decoy, decoys, middle_out, pareto
from poisoncli.sanitization.feasible_set import violation
from poisoncli.training.linear import Linear, descend, error, fit, margins, row_loss, slope


def planes(n=200, d=6, seed=0):
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(n) < 0.4, 1.0, -1.0)
    x = rng.normal(size=(n, d)) + 0.9 * y[:, None]
    return Rows(x, y)


def linear_problem(loss="hinge", bias="penalized", integer=False, count=12):
    clean, target = planes(), planes(seed=1)
    if integer:
        clean, target = (Rows(np.rint(np.exp(0.5 * part.x)), part.y) for part in (clean, target))
    low, high = (0.0, np.inf) if integer else (-np.inf, np.inf)
    return LinearProblem(
        clean, target, count, 0.05, loss, bias, low, high, integer, defenses=("loss", "l2", "slab")
    )


@pytest.mark.parametrize("loss", ["hinge", "logistic"])
@pytest.mark.parametrize("bias", ["free", "penalized"])
def test_the_victim_is_at_its_optimum(loss, bias):
    rows, lambda_ = planes(), 0.05
    theta = fit(rows.x, rows.y, lambda_, loss, bias, tol=1e-6)

    def objective(w, b):
        charge = b**2 if bias == "penalized" else 0
        return row_loss(rows.y * (rows.x @ w + b), loss).mean() + lambda_ / 2 * (w @ w + charge)

    best = objective(theta.w, theta.b)
    rng = np.random.default_rng(0)
    for size in (1e-1, 1e-2, 1e-3):
        for _ in range(50):
            assert objective(theta.w + size * rng.normal(size=6), theta.b + size * rng.normal()) >= best - 1e-6


def test_sparse_and_dense_rows_give_the_same_victim():
    rows = planes()
    dense, sparse = fit(rows.x, rows.y, 0.05), fit(sp.csr_matrix(rows.x), rows.y, 0.05)
    np.testing.assert_allclose(dense.w, sparse.w, atol=1e-6)


def test_one_pass_of_descent_comes_near_the_optimum():
    rows = planes(n=2000)
    one, best = descend(rows.x, rows.y, 0.05, "hinge", 1), fit(rows.x, rows.y, 0.05)
    assert error(one, *rows) < error(best, *rows) + 0.05
    assert not np.allclose(one.w, best.w, atol=1e-6)


def test_one_class_is_said():
    with pytest.raises(FailedError, match="one class"):
        fit(np.ones((3, 2)), np.ones(3), 0.1)


@pytest.mark.parametrize("bias", ["free", "penalized"])
def test_inverse_hessian_direct_and_iterated_agree(bias, monkeypatch):
    rng = np.random.default_rng(0)
    x, bend, w = rng.normal(size=(40, 6)), rng.random(40), rng.normal(size=6)
    direct = hessian_solve.solve(x, bend, 0.3, w, 0.4, bias)
    monkeypatch.setattr(hessian_solve, "DIRECT", 0)
    iterated = hessian_solve.solve(x, bend, 0.3, w, 0.4, bias, tol=1e-12)
    ones = np.concatenate([x, np.ones((40, 1))], axis=1)
    hessian = ones.T @ (bend[:, None] * ones) / 40
    hessian += np.diag([0.3] * 6 + [0.3 if bias == "penalized" else 1e-6])
    expected = np.linalg.solve(hessian, np.append(w, 0.4))
    for found in (direct, iterated):
        np.testing.assert_allclose(np.append(*found), expected, rtol=1e-6)


def test_influence_is_the_gradient_through_the_smoothed_optimum():
    """Against finite differences: the target loss after re-training with the smoothed hinge."""
    problem, smooth = linear_problem(), 0.5
    point, label = np.array([[0.3, -0.2, 0.5, 0.1, 0.4, -0.6]]), np.array([1.0])

    def soft(margin):
        return smooth * jnp.logaddexp(0.0, (1 - margin) / smooth)

    @jax.jit
    def trained(x):
        rows = jnp.concatenate([problem.clean.x, x])
        y = jnp.concatenate([problem.clean.y, label])

        def objective(p):
            return soft(y * (rows @ p[:6] + p[6])).mean() + problem.lambda_ / 2 * p @ p

        def newton(_, p):
            return p - jnp.linalg.solve(jax.hessian(objective)(p), jax.grad(objective)(p))

        return jax.lax.fori_loop(0, 30, newton, jnp.zeros(7))

    def target(x):
        p = trained(x)
        return float(soft(problem.target.y * (problem.target.x @ p[:6] + p[6])).mean())

    with jax.enable_x64(True):
        theta = np.asarray(trained(point))

        class Fixed(LinearProblem):
            def train(self, rows):
                return Linear(theta[:6], float(theta[6]))

        found = influence(Fixed(*problem), Rows(point, label), point, label, smooth)[0]
        steps = [(target(point + 1e-4 * e) - target(point - 1e-4 * e)) / 2e-4 for e in np.eye(6)]
    np.testing.assert_allclose(found, np.array(steps) / np.linalg.norm(steps), atol=2e-3)


def test_kkt_points_make_an_attainable_decoy_optimal():
    problem = linear_problem(count=60)
    goal = np.array([[0.2] * 6, [-0.1] * 6])
    poison = Rows(np.repeat(goal, [20, 40], axis=0), np.repeat(SIGNS, [20, 40]))
    theta = problem.train(stack(problem.clean, poison))
    decoy = Decoy(theta, 0.0, 0.0)
    gradient, _ = target_gradient(problem, decoy)
    wide = evading_set(problem, (), 1.0)
    margin = SIGNS * (goal @ theta.w + theta.b)
    feasible = capped(wide, theta, np.full(2, 5.0), support=True)
    x, value = two_points(problem, decoy, feasible, gradient, np.array([20, 40]) / 200)
    found = problem.train(stack(problem.clean, Rows(np.repeat(x, [20, 40], axis=0), poison.y)))
    assert np.all(margin <= 1)
    assert value < 0.05 * gradient @ gradient
    assert (
        np.linalg.norm(found.w - theta.w) < 0.35 * np.linalg.norm(problem.train(problem.clean).w - theta.w) + 0.05
    )


def test_decoys_are_a_front_that_starts_in_its_middle():
    front = decoys(linear_problem(), (1, 5, 20), (0.1, 0.3, 0.5))
    by_error = sorted(front, key=lambda decoy: decoy.error)
    assert not any(a.error > b.error and a.loss < b.loss for a in front for b in front)
    assert front[0].error == by_error[len(front) // 2].error
    assert len(pareto(front)) == len(front)
    assert middle_out(5) == [2, 1, 3, 0, 4]


def test_rounding_keeps_the_mean_repeats_and_is_seeded():
    x = np.array([0.25, 1.5, 2.0])
    rounded_poison = rounded(x, 40_000, 2, True, np.random.default_rng(0))
    np.testing.assert_allclose(rounded_poison.mean(0), x, atol=0.02)
    np.testing.assert_array_equal(rounded_poison[::2], rounded_poison[1::2])
    np.testing.assert_array_equal(rounded_poison, rounded(x, 40_000, 2, True, np.random.default_rng(0)))
    assert np.all(rounded_poison % 1 == 0)
    assert len(rounded(x, 5, 2, True, np.random.default_rng(0))) == 5


@pytest.mark.parametrize("integer", [False, True])
def test_the_evading_set_is_what_the_defenses_let_pass(integer):
    problem = linear_problem(integer=integer)
    clean = problem.clean
    feasible = evading_set(problem, ("l2", "slab"), 0.9)._replace(integer=False)
    inside = violation(feasible.pick((clean.y > 0).astype(int)), clean.x.astype(float)) <= 1e-9
    assert 0.75 <= inside.mean() <= 0.9


def test_a_loss_cap_bounds_the_loss_under_the_decoy():
    problem = linear_problem()
    theta = problem.train(problem.clean)
    feasible = capped(evading_set(problem), theta, np.array([0.4, 0.2]))
    for i, (sign, cap) in enumerate(zip(SIGNS, (0.4, 0.2), strict=True)):
        x = np.random.default_rng(0).normal(size=(200, 6)) * 2
        loss = row_loss(margins(theta, x, np.full(200, sign)))
        only = feasible._replace(
            radius=np.full(2, np.inf), bounds=np.where([[0, 0, 1]] * 2, feasible.bounds, np.inf)
        )
        inside = violation(only.pick(np.full(200, i)), x) <= 1e-12
        np.testing.assert_array_equal(inside, loss <= cap)


def test_damage_stops_once_it_cannot_win():
    problem = linear_problem()
    poison = Rows(-problem.clean.x[:12], problem.clean.y[:12])
    whole = damage(problem, poison, problem.defenses)
    assert damage(problem, poison, problem.defenses, floor=0.9) >= whole
    assert damage(problem, poison, problem.defenses, floor=whole - 1e-9) == whole


@pytest.mark.parametrize("loss", ["hinge", "logistic"])
def test_collapsed_poison_pulls_like_the_original(loss):
    problem = linear_problem(loss=loss)
    rng = np.random.default_rng(3)
    poison = Rows(rng.normal(size=(30, 6)) * 0.4, np.repeat([-1.0, 1.0], [10, 20]))
    found = collapse(problem, poison)
    assert found.exact, found.why
    assert found.mismatch < 1e-9
    assert found.copies.sum() <= 30 * (1 + 1e-9)
    whole = np.maximum(1, np.rint(found.copies)).astype(int)
    again = Rows(np.repeat(found.x, whole, axis=0), np.repeat(SIGNS, whole))
    theta = problem.train(stack(problem.clean, again))
    np.testing.assert_allclose(theta.w, problem.train(stack(problem.clean, poison)).w, atol=0.03)


def test_where_the_theorem_does_not_hold_the_collapse_says_so():
    assert (
        "whole numbers"
        in collapse(linear_problem(integer=True), Rows(np.full((4, 6), 1.0), np.array([-1.0, 1, -1, 1]))).why
    )


def test_slopes_are_minus_the_derivative():
    margin = np.linspace(-3, 3, 13) + 0.01
    for loss in ("hinge", "logistic"):
        numeric = (row_loss(margin + 1e-6, loss) - row_loss(margin - 1e-6, loss)) / 2e-6
        np.testing.assert_allclose(slope(margin, loss), -numeric, atol=1e-6)
