import jax
import jax.numpy as jnp
import numpy as np
import pytest

from poisoncli.attacks.stealthy import Stealthy
from poisoncli.bilevel.ascent import OuterState, StageProblem
from poisoncli.bilevel.bilevel_problem import BilevelProblem
from poisoncli.bilevel.reverse import reverse
from poisoncli.bilevel.stealth import (
    CleanFit,
    StealthyAscent,
    Tradeoff,
    fit_clean,
    hyperiterations,
    landscape,
    risk,
)
from poisoncli.core.attack import Problem, Threat
from poisoncli.core.data import Data
from poisoncli.core.losses import squared
from poisoncli.core.victim import Objective
from poisoncli.models import MODELS
from poisoncli.training.descent import fit
from poisoncli.training.layout import lay_out
from poisoncli.training.trainers import SGD

FREE = 3


def real_rows(n: int, m: int, seed: int) -> Data:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, m))
    return Data(jnp.asarray(x), jnp.asarray(x @ np.arange(1.0, m + 1) + rng.standard_normal(n)), jnp.ones(n))


@pytest.mark.sampled
@pytest.mark.parametrize("name", ["linear", "mlp"])
@pytest.mark.parametrize("reg", ["none", "l2"])
def test_hypergradients_of_features_and_targets_are_finite_differences(name, reg):
    with jax.enable_x64(True):
        model = MODELS[name](hidden=(4, 3)) if name == "mlp" else MODELS[name]()
        objective, trainer = Objective(model, squared, reg, 12.0), SGD(0.1, 15)
        train, target, log_lambda = real_rows(12, 3, 0), real_rows(7, 3, 1), jnp.asarray([0.5])
        start = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), model.init(jax.random.key(0), 3))

        @jax.jit
        def damage(x, y):
            rows = lay_out(train._replace(x=train.x.at[-FREE:].set(x), y=train.y.at[-FREE:].set(y)))
            return objective.clean_loss(fit(objective, trainer, start, log_lambda, rows), target)

        at = BilevelProblem(objective, trainer, start, log_lambda, lay_out(train), target, FREE)
        found = reverse(at, True, with_y=True)
        x, y, eps = train.x[-FREE:], train.y[-FREE:], 1e-5
        for i in range(FREE):
            step = eps * jnp.eye(FREE)[i]
            slope = (damage(x, y + step) - damage(x, y - step)) / (2 * eps)
            assert found.y[i] == pytest.approx(float(slope), rel=1e-6, abs=1e-9)
            for j in range(3):
                move = jnp.zeros((FREE, 3)).at[i, j].set(eps)
                slope = (damage(x + move, y) - damage(x - move, y)) / (2 * eps)
                assert found.x[i, j] == pytest.approx(float(slope), rel=1e-6, abs=1e-9)


def test_targets_are_not_differentiated_unless_asked():
    model = MODELS["linear"]()
    rows = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), real_rows(12, 3, 0))
    objective, start = Objective(model, squared, "none", 12.0), model.init(jax.random.key(0), 3)
    at = BilevelProblem(objective, SGD(0.1, 5), start, jnp.zeros(1), lay_out(rows), rows, FREE)
    assert reverse(at, True).y is None


def test_risk_is_the_product_of_the_losses_at_the_edges_of_the_band():
    objective = Objective(MODELS["linear"](), squared, "none", 12.0)
    clean_fit = CleanFit([{"w": jnp.array([[2.0]]), "b": jnp.array([1.0])}], jnp.asarray(0.5))
    x, y = jnp.array([[0.0], [1.0]]), jnp.array([1.0, 4.0])  # residuals 0 and 1
    up, down = np.mean([0.5 * 0.5**2, 0.5 * 0.5**2]), np.mean([0.5 * 0.5**2, 0.5 * 1.5**2])
    assert float(risk(objective, clean_fit, x, y)) == pytest.approx(up * down, rel=1e-6)
    edge = float(risk(objective, clean_fit, x[:1], jnp.array([1.5])))
    assert edge == 0.0  # least at the edge, not on the line
    assert float(risk(objective, clean_fit, x[:1], y[:1])) > 0


def test_sigma_has_the_degrees_of_freedom_of_the_residuals():
    rows = jax.tree.map(lambda leaf: leaf.astype(jnp.float32)[None], real_rows(30, 3, 2))
    objective = Objective(MODELS["linear"](), squared, "none", 12.0)
    clean_fit = fit_clean(jax.random.split(jax.random.key(0), 1), objective, SGD(0.3, 500), rows, jnp.zeros((1, 1)))
    x = np.concatenate([np.asarray(rows.x[0]), np.ones((30, 1))], axis=1)
    _, squares, _, _ = np.linalg.lstsq(x, np.asarray(rows.y[0]), rcond=None)
    assert float(clean_fit.sigma[0]) == pytest.approx(float(np.sqrt(squares[0] / (30 - 3 - 1))), rel=1e-4)


@pytest.mark.sampled
@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_a_step_climbs_the_whole_objective_by_its_finite_differences(name):
    with jax.enable_x64(True):
        model = MODELS[name](hidden=(4, 3)) if name == "mlp" else MODELS[name]()
        objective, trainer = Objective(model, squared, "none", 12.0), SGD(0.1, 15)
        train, target, log_lambda = real_rows(12, 2, 0), real_rows(7, 2, 1), jnp.full((1, 1), -jnp.inf)
        key = jax.random.key(0)
        one = jax.tree.map(lambda leaf: leaf[None], (train, target))
        clean_fit = fit_clean(key[None], objective, trainer, one[0], log_lambda)
        far = jnp.full(1, 1e9)
        half = {"alpha": jnp.full(1, 0.4), "damage_ref": jnp.full(1, 2.0), "risk_ref": jnp.full(1, 3.0)}
        tradeoff = Tradeoff(**half, rate=jnp.ones(1), low=-far[:, None], high=far[:, None], y_low=-far, y_high=far)
        outer_state = OuterState(jax.vmap(lay_out)(one[0]), log_lambda)
        problem, ascent = StageProblem(objective, trainer, one[1], FREE), StealthyAscent("none", True, 1)
        moved, _, trail = hyperiterations(
            key[None], problem, outer_state, clean_fit, tradeoff, jnp.asarray(0), ascent=ascent
        )
        x, y = train.x[-FREE:], train.y[-FREE:]
        np.testing.assert_array_equal(trail[0, 0], jnp.append(x[0], y[0]))
        slopes = jnp.append(moved.rows.blocks[-1].x[0, -FREE:] - x, (moved.rows.y[0, -FREE:] - y)[:, None], axis=1)

        # the model starts from the key of the hyperiteration in both
        at, batch, eps = jax.random.fold_in(key, 0), 12 - FREE + jnp.arange(FREE), 1e-5
        own, goal = (jax.tree.map(lambda leaf: leaf[0], part) for part in (clean_fit, tradeoff))
        for i in range(FREE):
            order = jnp.roll(batch, -i)  # the point that moves comes first
            steps = jnp.concatenate([eps * jnp.eye(3), -eps * jnp.eye(3)])
            places = jnp.append(x[i], y[i]) + steps
            found = landscape(at, objective, trainer, train, log_lambda[0], order, target, own, goal, places)
            np.testing.assert_allclose(slopes[i], (found[:3] - found[3:]) / (2 * eps), rtol=1e-6, atol=1e-8)


def descended(x, y, target, rate, steps):
    """Mean halved squared error on the target rows after plain gradient descent from zero."""
    rows, weight = np.hstack([x, np.ones((len(x), 1))]), np.zeros(x.shape[1] + 1)
    for _ in range(steps):
        weight -= rate * rows.T @ (rows @ weight - y) / len(y)
    return np.mean((np.hstack([target.x, np.ones((len(target.x), 1))]) @ weight - target.y) ** 2) / 2


@pytest.mark.long
def test_the_damage_is_divided_by_that_of_the_set_before_the_batch():
    train, target = (Data(*(np.asarray(leaf, np.float32)[None] for leaf in real_rows(n, 2, n))) for n in (20, 9))
    problem = Problem(
        train, target, Objective(MODELS["linear"](), squared, "none", 20.0), SGD(),
        Threat((0, 3, 6, 8), np.float32(-9), np.float32(9)), np.full((1, 1), -np.inf, np.float32),
        np.array([False]),
    )  # fmt: skip
    attack = Stealthy(alpha=0.3, outer_steps=3, inner_steps=5, inner_rate=0.1)
    *_, end = attack.craft(jax.random.key(0), problem)
    goal = jax.tree.map(lambda leaf: leaf[0].astype(float), target)
    for stage in (1, 2, 3):  # SPR Algorithm 2, lines 3 to 8: the first is the loss of clean training
        x, y, finished = np.array(train.x[0], float), np.array(train.y[0], float), end.counts[stage - 1]
        x[end.replaced[0, :finished]], y[end.replaced[0, :finished]] = end.x[0, :finished], end.y[0, :finished]
        assert end.scales[0, stage, 0] == pytest.approx(descended(x, y, goal, 0.1, 5), rel=1e-5)


def test_one_compilation_serves_other_numbers():
    model, key = MODELS["linear"](), jax.random.key(0)
    train, target = (jax.tree.map(lambda leaf: leaf[None], real_rows(n, 2, n)) for n in (12, 7))
    outer_state = OuterState(jax.vmap(lay_out)(train), jnp.full((1, 1), -jnp.inf))

    def climb(rate, n_train, alpha, first):
        objective, trainer, one = Objective(model, squared, "none", n_train), SGD(rate, 5), jnp.ones(1)
        clean_fit = fit_clean(key[None], objective, trainer, train, jnp.zeros((1, 1)))
        box = {"low": -9 * jnp.ones((1, 2)), "high": 9 * jnp.ones((1, 2)), "y_low": -9 * one, "y_high": 9 * one}
        tradeoff = Tradeoff(alpha * one, one, one, rate=one, **box)
        ascent = StealthyAscent("batch", True, 2)
        problem = StageProblem(objective, trainer, target, FREE)
        return hyperiterations(
            key[None], problem, outer_state, clean_fit, tradeoff, jnp.asarray(first), ascent=ascent
        )

    before = climb(0.1, 12.0, 0.4, 0)
    traced = hyperiterations._cache_size()
    after = climb(0.2, 20.0, 0.7, 2)
    assert hyperiterations._cache_size() == traced
    assert not np.array_equal(before[0].rows.y, after[0].rows.y)


@pytest.mark.long
def test_a_run_with_two_sizes_of_batches_compiles_two_programs():
    train, target = (Data(*(np.asarray(leaf, np.float32)[None] for leaf in real_rows(n, 2, n))) for n in (13, 7))
    box = {"low": np.float32(-9), "high": np.float32(9), "y_low": np.float32(-9), "y_high": np.float32(9)}
    problem = Problem(
        train, target, Objective(MODELS["linear"](), squared, "none", 13.0), SGD(),
        Threat((0, 2, 4, 5), **box), np.full((1, 1), -np.inf, np.float32), np.array([False]),
    )  # fmt: skip
    before = hyperiterations._cache_size()
    *_, end = Stealthy(alpha=1.0, outer_steps=2, inner_steps=5).craft(jax.random.key(0), problem)
    assert end.done == end.total
    assert 1 <= hyperiterations._cache_size() - before <= 2
