"""The influence attack: its gradient, and that it climbs."""

import jax
import jax.numpy as jnp
import numpy as np
from linear_rows import linear_problem

from poisoncli.attacks.influence import Influence, influence
from poisoncli.sanitization.additive import LinearProblem, Rows, damage, evading_set
from poisoncli.sanitization.feasible_set import violation
from poisoncli.training.linear import Linear


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
        (raw,) = influence(Fixed(*problem), Rows(point, label), point, label, smooth, "none")
        steps = [(target(point + 1e-4 * e) - target(point - 1e-4 * e)) / 2e-4 for e in np.eye(6)]
    np.testing.assert_allclose(found, np.array(steps) / np.linalg.norm(steps), atol=2e-3)
    np.testing.assert_allclose(found, raw / np.linalg.norm(raw), rtol=1e-12)
    assert not np.isclose(np.linalg.norm(raw), 1)


def test_its_points_are_feasible_and_do_more_damage_than_where_they_started():
    problem = linear_problem(count=40)
    feasible = evading_set(problem, ("l2",), 1.0)
    start, end = (
        Influence(steps=steps, rates=(0.5,), copies=1)._candidate(
            problem, feasible, None, 0, np.random.default_rng(0)
        )
        for steps in (0, 20)
    )
    for poison in (start, end):
        assert len(poison.y) == 40
        assert np.all(violation(feasible.pick((poison.y > 0).astype(int)), poison.x) <= 1e-6)
        above = round(40 * np.mean(problem.clean.y < 0))  # inversely to the class balance
        assert np.sum(poison.y > 0) == above
    assert damage(problem, end, ("loss", "l2")) > damage(problem, start, ("loss", "l2"))
