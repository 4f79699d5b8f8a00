"""The influence attack on several classes: its gradient, where it starts, and that it climbs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_rows import several

from poisoncli.models.multisvm import MultiSVM
from poisoncli.sanitization.additive import Rows, stack
from poisoncli.sanitization.feasible_set import violation
from poisoncli.sanitization.influence_multiclass import InfluenceSettings, ascend, influence, mislabeled, starts
from poisoncli.sanitization.multiclass_search import MulticlassProblem, balls, least_error
from poisoncli.training.multiclass import MulticlassLinear, outputs

K, D, POINTS = 3, 5, 2


@pytest.fixture(scope="module")
def problem():
    clean, target = several(), several(seed=1)
    victim = MultiSVM(passes=0, loss="logistic")
    return MulticlassProblem(Rows(*clean), Rows(*target), 24, K, victim, 0.05, -np.inf, np.inf, False)


@pytest.mark.parametrize("pushed", [False, True])
@pytest.mark.parametrize(("loss", "smooth"), [("hinge", 0.5), ("logistic", 0.5)])
def test_influence_is_the_gradient_through_the_optimum(problem, loss, smooth, pushed):
    """Against finite differences, retrained at each, and the implicit function theorem with JAX's own Hessian."""
    problem = problem._replace(victim=MultiSVM(passes=0, loss=loss), pushed=pushed)
    start, labels = np.random.default_rng(0).normal(size=(POINTS, D)), np.array([1, 2])
    clean, target = problem.clean, problem.target
    y = jnp.concatenate([clean.y, labels])

    def losses(p, x, y):
        scores = x @ p[: K * D].reshape(K, D).T + p[K * D :]
        own = scores[jnp.arange(len(y)), y]
        if loss == "logistic":
            return jax.nn.logsumexp(scores, axis=1) - own
        margin = 1.0 - jax.nn.one_hot(y, K)
        return smooth * jax.nn.logsumexp((scores + margin) / smooth, axis=1) - own

    def objective(p, x):
        return losses(p, jnp.concatenate([clean.x, x]), y).mean() + problem.lambda_ / 2 * p @ p

    @jax.jit
    def trained(x):
        def newton(_, p):
            return p - jnp.linalg.solve(jax.hessian(objective)(p, x), jax.grad(objective)(p, x))

        return jax.lax.fori_loop(0, 20, newton, jnp.zeros(K * D + K))

    def wanted(p):
        return (-1 if pushed else 1) * losses(p, target.x, target.y).mean()

    with jax.enable_x64(True):
        p = trained(start)

        class Fixed(MulticlassProblem):
            def train(self, rows):
                return MulticlassLinear(np.asarray(p[: K * D]).reshape(K, D), np.asarray(p[K * D :]))

        fixed = Fixed(*problem)
        found = influence(fixed, Rows(start, labels), start, labels, smooth, "none") / len(y)  # of the mean's rows
        unit = influence(fixed, Rows(start, labels), start, labels, smooth)
        solved = jnp.linalg.solve(jax.hessian(objective)(p, start), jax.grad(wanted)(p))
        implicit = -jax.grad(lambda x: jax.grad(objective)(p, x) @ solved)(jnp.asarray(start))
        moves, step = np.random.default_rng(1).normal(size=(6, POINTS, D)), 1e-4
        slopes = [
            (wanted(trained(start + step * move)) - wanted(trained(start - step * move))) / (2 * step)
            for move in moves
        ]
    np.testing.assert_allclose(found, implicit, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.tensordot(moves, found, 2), slopes, rtol=1e-6)
    np.testing.assert_allclose(unit, found / np.linalg.norm(found, axis=1, keepdims=True), rtol=1e-12)


def test_the_victims_optimum_is_that_of_the_objective(problem):
    machine = problem.train(problem.clean)
    scores = outputs(machine, problem.clean.x)
    chance = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    slope = (chance - np.eye(K)[problem.clean.y]).T @ problem.clean.x / 240 + problem.lambda_ * machine.w
    assert np.abs(slope).max() < 1e-5


@pytest.mark.parametrize("label", ["other", "nearest", "least-likely", 1])
def test_points_start_as_mislabeled_clean_rows_by_their_classes_shares(problem, label):
    problem = problem._replace(label=label)
    feasible = balls(problem, 1.0)
    x, labels, copies = starts(problem, feasible, np.random.default_rng(0))
    assert copies.sum() == problem.size
    rows = [int(np.flatnonzero((problem.clean.x == row).all(axis=1))[0]) for row in x]
    own = problem.clean.y[rows]
    assert len(set(own)) == len(own) == (2 if label == 1 else 3)
    assert np.all(labels != own)
    share = np.bincount(problem.clean.y)[own]
    np.testing.assert_allclose(copies, problem.size * share / share.sum(), atol=1)
    assert np.all(violation(feasible.pick(labels), x) <= 1e-9)
    said = mislabeled(problem, np.random.default_rng(0))[rows]
    scores = outputs(problem.train(problem.clean), x)
    chosen, other = scores[np.arange(len(own)), said], 3 - own - said
    rest = scores[np.arange(len(own)), other]
    assert {"other": True, "nearest": np.all(chosen >= rest), "least-likely": np.all(chosen <= rest)}.get(
        str(label), np.all(said == 1)
    )
    each = starts(problem, feasible, np.random.default_rng(0), each=True)
    assert each[0].shape == (24, D)
    assert np.all(each[2] == 1)


def test_rows_that_are_not_feasible_start_where_they_would_be(problem):
    """On the ball round the centroid of their new label, on the straight line to it."""
    whole = balls(problem, 0.5)
    small = whole._replace(radius=whole.radius / 10)
    x, labels, copies = starts(problem, small, np.random.default_rng(0))
    assert copies.sum() == problem.size
    np.testing.assert_allclose(np.linalg.norm(x - small.center[labels], axis=1), small.radius[labels], rtol=1e-6)


@pytest.mark.parametrize("each", [False, True])
def test_it_does_more_damage_than_where_it_started(problem, each):
    feasible = balls(problem, 1.0)
    settings = InfluenceSettings(0, (0.5,), 1, 0.001, "point", True, 1, 0.05, (), 0 if each else 2, each)
    start, end = (
        ascend(problem, feasible, settings._replace(steps=steps), 0.5, np.random.default_rng(0))
        for steps in (0, 12)
    )
    for poison in (start, end):
        assert len(poison.y) == 24
        assert np.all(violation(feasible.pick(poison.y), poison.x) <= 1e-6)
    assert least_error(problem, end, (), 0.05) > least_error(problem, start, (), 0.05)
    assert len(np.unique(stack(start, end).x, axis=0)) > 3


def test_it_pushes_rows_to_a_label(problem):
    of_one = problem.target.x[problem.target.y == 1]
    problem = problem._replace(target=Rows(of_one, np.full(len(of_one), 2)), pushed=True, label=2)
    settings = InfluenceSettings(0, (0.5,), 1, 0.001, "point", True, 1, 0.05, (), 2, False)
    start, end = (
        ascend(problem, balls(problem, 1.0), settings._replace(steps=steps), 0.5, np.random.default_rng(0))
        for steps in (0, 12)
    )
    assert np.all(end.y == 2)
    assert least_error(problem, end, (), 0.05) > least_error(problem, start, (), 0.05) + 0.02
