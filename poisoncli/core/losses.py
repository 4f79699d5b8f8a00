"""Losses of a row, penalties on the weights, and what the tasks measure."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from poisoncli.core.data import Array, Params, Task

PENALTIES = ("none", "l2", "l1")


def cross_entropy(output: Array, y: Array) -> Array:
    """Binary cross-entropy [n] of logits `output` [n] and targets y in {0, 1}, in nats."""
    return jax.nn.softplus(output) - y * output


def squared(output: Array, y: Array) -> Array:
    """Half the squared error [n] of predictions `output` [n] and real targets y."""
    return 0.5 * (output - y) ** 2


def softmax_cross_entropy(output: Array, y: Array) -> Array:
    """Cross-entropy [n] of logits `output` [n, classes] and class numbers y [n] (floats), in nats."""
    return optax.softmax_cross_entropy(output, _one_hot(output, y))


# models with a loss of their own are trained to its optimum: see `training.linear` and `training.multiclass`
ROW_LOSS: dict[Task, Callable[[Array, Array], Array]] = {
    "binary": cross_entropy,
    "multiclass": softmax_cross_entropy,
    "real": squared,
}


def toward(output: Array, y: Array) -> Array:
    """Minus the cross-entropy [n]: it grows as rows come nearer to the label y that an attacker chose."""
    return -cross_entropy(output, y) if output.ndim == 1 else -softmax_cross_entropy(output, y)


def away_margin(output: Array, y: Array) -> Array:
    """The logit [n] against the target y, or by how much the best other class exceeds it: it never saturates."""
    return (1 - 2 * y) * output if output.ndim == 1 else -toward_margin(output, y)


def toward_margin(output: Array, y: Array) -> Array:
    """The logit [n] for the label y that an attacker chose, or by how much it exceeds the best other class."""
    if output.ndim == 1:
        return (2 * y - 1) * output
    chosen = _one_hot(output, y)
    others = jnp.where(chosen > 0, -jnp.inf, output)
    return jnp.sum(jnp.where(chosen > 0, output, 0), axis=-1) - jnp.max(others, axis=-1)


def _one_hot(output: Array, y: Array) -> Array:
    return jax.nn.one_hot(y.astype(int), output.shape[-1], dtype=output.dtype)


# what an attack maximizes on its target rows, by name, and by whether it pushes them to a label; None: the row loss
TARGET_LOSSES: dict[tuple[str, bool], Callable[[Array, Array], Array] | None] = {
    ("training", False): None,
    ("training", True): toward,
    ("margin", False): away_margin,
    ("margin", True): toward_margin,
}


def penalty(params: Params, reg: str) -> Array:
    """Omega(w) of each layer, [layers]: 1/2 ||w||_2^2 (`l2`) or ||w||_1 (`l1`); biases are free (HLP IV)."""
    layers = weights(params)
    if reg == "l2":
        return jnp.stack([0.5 * jnp.sum(w**2) for w in layers])
    if reg == "l1":
        return jnp.stack([jnp.sum(_abs(w)) for w in layers])
    return jnp.zeros(len(layers), layers[0].dtype)


def weights(params: Params) -> list[Array]:
    """The weights of each layer: the arrays of two axes or more."""
    return [leaf for leaf in jax.tree.leaves(params) if leaf.ndim > 1]


def _abs(w: Array) -> Array:
    """|w|, with the subgradient 0 at 0, where that of `jnp.abs` is 1: weights that nothing moves stay 0."""
    return w * jax.lax.stop_gradient(jnp.sign(w))


def weighted_mean(values: Array, weight: Array) -> Array:
    """Mean of `values` [n] over the rows that `weight` [n] keeps."""
    return jnp.sum(values * weight) / jnp.sum(weight)


def error_rate(output: Array, y: Array, weight: Array) -> Array:
    """Share of the rows kept whose class by `output` ([n] or [n, classes]) is not the target y, in [0, 1]."""
    return weighted_mean(wrong(output, y), weight)


def nmse(output: Array, y: Array, weight: Array) -> Array:
    """Mean squared error over the mean square of the targets y [n], both over the rows kept (SPR eq. 7)."""
    return weighted_mean((output - y) ** 2, weight) / weighted_mean(y**2, weight)


def wrong(output: Array, y: Array) -> Array:
    """1.0 [n] where the sign of a logit [n], or the largest of logits [n, classes], says another class than y."""
    if output.ndim > 1:
        return (jnp.argmax(output, axis=-1) != y).astype(output.dtype)
    return ((output > 0) != (y > 0.5)).astype(output.dtype)


ERROR: dict[Task, Callable[[Array, Array, Array], Array]] = {
    "binary": error_rate,
    "multiclass": error_rate,
    "real": nmse,
}
