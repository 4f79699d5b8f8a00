"""The influence attack: its gradient, and that it climbs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_rows import linear_problem
from sklearn.linear_model import LogisticRegression

from poisoncli.attacks.influence import Influence, InfluenceBasic, influence
from poisoncli.core.errors import Interrupted, PoisonError
from poisoncli.reports import summary
from poisoncli.runs import run_file, stages
from poisoncli.runs.description import Choice, Run
from poisoncli.runs.poisoned import poisoned
from poisoncli.runs.prepare import restore
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


@pytest.mark.parametrize("made", [Influence(steps=2, starts=1, copies=1), InfluenceBasic(steps=2)])
@pytest.mark.parametrize("label", [-1.0, 1.0])
def test_all_poison_may_be_of_one_label(made, label):
    problem = linear_problem(count=12)._replace(label=label)
    poison = made._candidate(problem, evading_set(problem, ("l2",), 1.0), None, 0, np.random.default_rng(0))
    np.testing.assert_array_equal(poison.y, np.full(12, label))


TEN = {
    "dataset": Choice("digits", {"classes": tuple(range(10))}),
    "model": Choice("multisvm", {"passes": 0, "loss": "logistic"}),
    "lambda_": 0.01,
    "fraction": 0.1,
    "n_train": 300,
    "n_val": 100,
    "n_test": 300,
}
QUICK = {"steps": 10, "starts": 1, "rates": (1.0,), "behind": ("l2",)}


def crafted(tmp_path, attack, **changes):
    run = Run(**{**TEN, **changes}, attack=attack)
    return stages.evaluate(stages.attack(run, tmp_path / "run.h5", force=True))


@pytest.mark.parametrize("loss", ["logistic", "hinge"])
def test_ten_classes_are_hurt_more_than_by_flips(tmp_path, loss):
    """The clean victim and the poisoned one are scikit-learn's; the poison keeps to the domain, and comes again."""
    model = Choice("multisvm", {"passes": 0, "loss": loss})
    found = crafted(tmp_path, Choice("influence", QUICK), model=model)
    again = crafted(tmp_path, Choice("influence", QUICK), model=model)
    np.testing.assert_array_equal(found.poison.x, again.poison.x)
    flips = crafted(tmp_path, Choice("flip", {"batch": 30}), model=model)
    errors, other = (one.evaluations["none"].test_error[0] for one in (found, flips))
    assert errors[0] == other[0] < 0.15
    assert errors[1] > other[1] + 0.03
    assert 0 <= found.poison.x.min() <= found.poison.x.max() <= 1
    assert len(np.unique(found.poison.y)) > 2
    if loss == "logistic":
        prepared = restore(found)
        train, test = poisoned(prepared.split.train, found.poison, 1)[0], prepared.split.test
        x, test_x = (np.hstack([rows, np.ones((len(rows), 1))]) for rows in (train.x[0], test.x[0]))
        theirs = LogisticRegression(C=1 / (0.01 * len(x)), fit_intercept=False, tol=1e-8, max_iter=5000)
        said = theirs.fit(x, train.y[0]).predict(test_x)
        assert errors[1] == pytest.approx(np.mean(said != test.y[0]), abs=2 / 300)
        chance = theirs.predict_proba(test_x)[np.arange(300), test.y[0].astype(int)]
        assert found.evaluations["none"].test_loss[0, 1] == pytest.approx(-np.log(chance).mean(), rel=1e-3)


def test_each_point_by_itself(tmp_path):
    found = crafted(tmp_path, Choice("influence-basic", {"steps": 3, "behind": ("l2",)}))
    assert len(np.unique(found.poison.x[0], axis=0)) > 10  # rows are drawn with replacement
    assert found.evaluations["none"].test_error[0, 1] > found.evaluations["none"].test_error[0, 0]


def test_rows_of_a_class_are_pushed_to_a_label(tmp_path):
    options = {**QUICK, "target": "class:1", "target_label": "0", "poison_label": "0"}
    sizes = {"n_train": 150, "n_val": 60, "n_test": 100}
    attack, data = Choice("influence", options), Choice("breast-cancer")
    found = crafted(tmp_path, attack, dataset=data, model=Choice("svm"), **sizes)
    rate = found.evaluations["none"].target_rate[0]
    assert rate[1] > rate[0] + 0.05
    assert np.all(found.poison.y == 0)
    assert "poison_label=0" in summary.label(found)


def test_several_classes_need_a_penalty(tmp_path):
    run = Run(dataset=TEN["dataset"], model=Choice("multisvm"), attack=Choice("influence", QUICK))
    with pytest.raises(PoisonError, match="needs a victim with a penalty"):
        stages.attack(run, tmp_path / "run.h5")


def test_it_goes_on_from_a_checkpoint_to_the_same_poison(tmp_path, monkeypatch):
    run = Run(**TEN, attack=Choice("influence", {**QUICK, "steps": 2, "starts": 3}))
    whole = run_file.read(stages.attack(run, tmp_path / "whole.h5")).poison

    def stopping(done, total, what):
        if done == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(stages, "CHECKPOINT_SECONDS", 0)
    with pytest.raises(Interrupted):
        stages.attack(run, tmp_path / "two.h5", report=stopping)
    parts = run_file.read(stages.attack(run, tmp_path / "two.h5", resume=True)).poison
    np.testing.assert_array_equal(whole.x, parts.x)
    np.testing.assert_array_equal(whole.loss, parts.loss)
