"""Training: the layout of the rows changes nothing, and long training finds the optimum."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import plain_objective

from poisoncli.core.data import Data
from poisoncli.core.losses import penalty
from poisoncli.training.descent import fit, gradient
from poisoncli.training.layers import zeros
from poisoncli.training.layout import lay_out
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


def test_infinitely_negative_log_lambda_is_no_penalty(case):
    case = case()
    rows = case.rows()
    without = case._replace(objective=dataclasses.replace(case.objective, reg="none"))
    same(trained(case._replace(log_lambda=jnp.array([-jnp.inf])), rows), trained(without, rows))
