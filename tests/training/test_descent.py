"""Training: the layout of the rows changes nothing, and long training finds the optimum."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import FREE, digits, plain_objective
from sklearn.linear_model import LogisticRegression

from poisoncli.core.data import Data
from poisoncli.core.losses import ERROR, cross_entropy, penalty
from poisoncli.core.victim import Objective
from poisoncli.models.logistic import Logistic
from poisoncli.training.descent import fit, gradient
from poisoncli.training.layers import forward, zeros
from poisoncli.training.layout import compress, lay_out, products, pull_back
from poisoncli.training.score import train_and_score
from poisoncli.training.trainers import SGD

KINDS = [("logistic", "l2", 1), ("mlp", "l1", 3)]


def value(case, rows):
    """The objective where training starts, and its gradient by `gradient`."""

    @jax.jit
    def run(rows):
        found, h = gradient(case.objective, case.start, case.log_lambda, rows)
        return case.objective.value(case.start, h, case.log_lambda, rows), found

    return run(rows)


def trained(case, rows, epochs=20):
    run = jax.jit(lambda rows: fit(case.objective, SGD(0.1, epochs), case.start, case.log_lambda, rows))
    return run(rows)


def same(one, other, relative=1e-12):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=relative, atol=1e-14)


@pytest.mark.parametrize(("model", "reg", "lambdas"), KINDS)
def test_weight_zero_equals_a_removed_row(case, model, reg, lambdas):
    case = case(model, reg, lambdas)
    kept = case.train.weight == 1
    assert not kept.all()
    full, fewer = case.rows(), lay_out(Data(*(leaf[kept] for leaf in case.train)))
    same(value(case, full), value(case, fewer))
    same(trained(case, full), trained(case, fewer))


@pytest.mark.parametrize("reg", ["l2", "l1"])
def test_the_penalty_keeps_its_coefficient_where_rows_are_dropped(case, reg):
    case = case("logistic", reg)
    weight = np.where(np.arange(len(case.train.y)) < 8, case.train.weight, 0)
    rows = case.rows()._replace(weight=jnp.asarray(weight))
    without = case._replace(objective=dataclasses.replace(case.objective, reg="none"))
    of_penalty = value(case, rows)[0] - value(without, rows)[0]
    np.testing.assert_allclose(of_penalty, value(case, case.rows())[0] - value(without, case.rows())[0], rtol=1e-12)


def test_the_l1_penalty_leaves_a_weight_of_zero_alone(strict):
    params = [{"w": jnp.array([[0.0, -0.0, 2.0, -3.0]]), "b": jnp.ones(1)}]
    assert penalty(params, "l1")[0] == 5
    slope = jax.grad(lambda params: penalty(params, "l1")[0])
    sign = [[0.0, 0.0, 1.0, -1.0]]
    np.testing.assert_array_equal(slope(params)[0]["w"], sign)
    np.testing.assert_array_equal(jax.jacfwd(lambda params: penalty(params, "l1")[0])(params)[0]["w"], sign)
    way = jax.tree.map(jnp.ones_like, params)
    np.testing.assert_array_equal(jax.jvp(slope, (params,), (way,))[1][0]["w"], np.zeros((1, 4)))


def test_columns_of_zeros_get_no_weight_under_an_l1_penalty(case):
    case = case("logistic", "l1")._replace(start=zeros(64))
    empty = ~np.any(case.train.x != 0, axis=0)
    assert empty.any()
    weight = np.asarray(trained(case, case.rows())[0]["w"][0])
    assert np.all(weight[empty] == 0)
    assert np.any(weight[~empty] != 0)


@pytest.mark.parametrize("reg", ["none", "l2", "l1"])
@pytest.mark.parametrize(("model", "lambdas"), [("logistic", 1), ("mlp", 1), ("mlp", 3)])
def test_objective_and_gradient_are_those_of_the_formula(case, model, reg, lambdas):
    case = case(model, reg, lambdas)
    plain = jax.jit(jax.value_and_grad(lambda start: plain_objective(start, case.log_lambda, case.train, reg)))
    same(value(case, case.rows()), plain(case.start))


@pytest.mark.parametrize(("model", "reg", "lambdas"), KINDS)
def test_left_out_columns_change_no_result(case, model, reg, lambdas):
    case = case(model, reg, lambdas)
    rows = case.rows(compressed=True)
    assert rows.blocks[0].columns is not None
    same(value(case, rows), value(case, case.rows()))
    same(trained(case, rows), trained(case, case.rows()))


def test_only_columns_of_zeros_are_left_out():
    x = np.random.default_rng(0).random((2, 5, 30))
    assert compress(x).columns is None
    x[..., [3, 4, 7, 9]] = 0
    x[1, 2, [4, 9]] = 1
    assert compress(x).columns is None  # two of thirty columns are too few to gain from
    x[1, 2, [4, 9]] = 0
    kept = compress(x)
    np.testing.assert_array_equal(kept.columns, np.setdiff1d(np.arange(30), [3, 4, 7, 9]))
    np.testing.assert_array_equal(kept.x, x.astype(kept.x.dtype)[..., kept.columns])
    np.testing.assert_array_equal(kept.xt, np.swapaxes(kept.x, 1, 2))


@pytest.mark.parametrize("compressed", [False, True])
def test_pull_back_is_the_transpose_of_products(case, compressed):
    rows = case().rows(compressed=compressed)
    rng = np.random.default_rng(0)
    weight, d = jnp.asarray(rng.normal(size=(4, 64))), jnp.asarray(rng.normal(size=(14, 4)))
    ahead = jnp.sum(products(weight, rows) * d)
    np.testing.assert_allclose(ahead, jnp.sum(weight * pull_back(d, rows, 64)), rtol=1e-12)


@pytest.mark.parametrize("log_lambda", [0.5, 2.0])
def test_long_training_finds_the_optimum_of_scikit_learn(strict, log_lambda):
    data = digits(120, 3)
    kept = data.weight == 1
    objective, rows = Objective(Logistic(), cross_entropy, "l2", float(kept.sum())), lay_out(data)
    run = jax.jit(lambda: fit(objective, SGD(0.5, 20_000), zeros(64), jnp.array([log_lambda]), rows))
    found = run()[0]
    best = LogisticRegression(C=np.exp(-log_lambda), solver="newton-cholesky", tol=1e-12)
    best.fit(data.x[kept], data.y[kept])
    np.testing.assert_allclose(found["w"], best.coef_, atol=1e-4)
    np.testing.assert_allclose(found["b"], best.intercept_, atol=1e-4)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Watched:
    """A logistic model that notes when it is traced."""

    seen: list = dataclasses.field(metadata={"static": True}, hash=False, compare=False)

    def __hash__(self):
        return id(self.seen)

    def init(self, key, m):
        return zeros(m)

    def output(self, params, h):
        self.seen.append(h.shape)
        return forward(params, h, 0.0)


def test_new_values_do_not_trace_again():
    seen = []
    objective = Objective(Watched(seen), cross_entropy, "l2", 14.0)
    data = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32)[None], digits(14, 1))

    def score(rate, log_lambda, seed):
        keys = jax.random.split(jax.random.key(seed), 1)
        train_and_score(
            keys, objective, SGD(rate, 7), data, jnp.full((1, 1), log_lambda), data, data, error=ERROR["binary"]
        )
        return len(seen)

    first = score(0.1, 0.0, 0)
    assert first > 0
    assert score(0.2, -jnp.inf, 1) == first
    assert score(0.3, 2.5, 2) == first


def test_infinitely_negative_log_lambda_is_no_penalty(case):
    case = case()
    rows = case.rows()
    without = case._replace(objective=dataclasses.replace(case.objective, reg="none"))
    same(trained(case._replace(log_lambda=jnp.array([-jnp.inf])), rows), trained(without, rows))


def test_free_rows_stand_last(case):
    case = case()
    np.testing.assert_array_equal(case.rows(compressed=True).blocks[-1].x, case.train.x[-FREE:])
