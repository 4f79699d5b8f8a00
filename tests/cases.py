"""A small bilevel problem on real data, and the same training written down plainly."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

from poisoncli.core.data import Data
from poisoncli.core.losses import cross_entropy, softmax_cross_entropy
from poisoncli.core.victim import Block, Objective, Rows
from poisoncli.models.logistic import Logistic
from poisoncli.models.mlp import MLP
from poisoncli.training.layers import xavier_uniform
from poisoncli.training.layout import compress, lay_out

FREE = 3
ROWS = 14


class Case(NamedTuple):
    """An objective with its rows, the last `FREE` of them free; training starts away from every kink."""

    objective: Objective
    start: list
    log_lambda: Any
    train: Data
    target: Data

    def rows(self, x_free: Any = None, compressed: bool = False) -> Rows:
        """The training rows, with other free rows if given, in one dense block or behind a compressed one."""
        x = self.train.x if x_free is None else jnp.concatenate([self.train.x[:-FREE], x_free])
        data = self.train._replace(x=x)
        if not compressed:
            return lay_out(data)
        front = compress(np.asarray(self.train.x[:-FREE]))
        last = Block(x[-FREE:], x[-FREE:].T, None)
        return Rows((front, last), jnp.asarray(data.y), jnp.asarray(data.weight))


def digits(rows: int, seed: int, classes: tuple[int, ...] = (0, 8)) -> Data:
    """Some zeros and eights, or other digits, with pixels in [0, 1]; the first row has weight 0."""
    bunch = load_digits()
    chosen = np.flatnonzero(np.isin(bunch.target, classes))
    chosen = np.random.default_rng(seed).permutation(chosen)[:rows]
    weight = np.ones(rows)
    weight[0] = 0
    return Data(bunch.data[chosen] / 16, np.searchsorted(classes, bunch.target[chosen]).astype(float), weight)


def make(model: str = "logistic", reg: str = "l2", lambdas: int = 1) -> Case:
    """A problem: a model (`softmax` and `mlp3` tell three classes apart), a penalty, and the number of lambdas."""
    sizes = {"logistic": (64, 1), "mlp": (64, 4, 3, 1), "softmax": (64, 3), "mlp3": (64, 4, 3, 3)}[model]
    built = Logistic() if len(sizes) == 2 else MLP(hidden=(4, 3), leak=jnp.asarray(0.1))
    start = xavier_uniform(jax.random.key(5), sizes, jnp.asarray(0.1))
    log_lambda = jnp.linspace(-0.5, 0.5, lambdas) if lambdas > 1 else jnp.array([0.3])
    if sizes[-1] == 1:
        objective = Objective(built, cross_entropy, reg, float(ROWS))
        return Case(objective, start, log_lambda, digits(ROWS, 1), digits(10, 2))
    objective = Objective(built, softmax_cross_entropy, reg, float(ROWS), outputs=3)
    return Case(objective, start, log_lambda, digits(ROWS, 1, (0, 3, 8)), digits(10, 2, (0, 3, 8)))


def plain_output(params: list, x: Any, leak: float = 0.1) -> Any:
    """Logits [n, outputs] of a fully connected network with leaky ReLU, layer after layer."""
    for number, layer in enumerate(params):
        if number:
            x = jnp.where(x > 0, x, leak * x)
        x = x @ layer["w"].T + layer["b"][None, :]
    return x


def plain_loss(params: list, data: Data) -> Any:
    """Mean cross-entropy over the rows with weight 1."""
    z = plain_output(params, data.x)
    if z.shape[1] == 1:
        losses = -jnp.log(jnp.where(data.y == 1, jax.nn.sigmoid(z[:, 0]), jax.nn.sigmoid(-z[:, 0])))
    else:
        share = jnp.exp(z) / jnp.exp(z).sum(1, keepdims=True)
        losses = -jnp.log(share[jnp.arange(len(z)), np.asarray(data.y, int)])
    return losses[np.asarray(data.weight) == 1].mean()


def plain_objective(params: list, log_lambda: Any, data: Data, reg: str) -> Any:
    """What the learner minimizes, written from the formula."""
    omega = {"none": lambda w: 0.0, "l2": lambda w: (w * w).sum() / 2, "l1": lambda w: jnp.abs(w).sum()}[reg]
    coefficients = jnp.broadcast_to(jnp.exp(log_lambda), len(params)) / ROWS
    return plain_loss(params, data) + sum(
        c * omega(layer["w"]) for c, layer in zip(coefficients, params, strict=True)
    )
