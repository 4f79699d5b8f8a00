"""Layers shared by the models: a linear model is a network without hidden layers."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from poisoncli.core.data import Array, Params


def zeros(m: int, width: int = 1) -> Params:
    """One layer of zeros, `m` inputs and `width` outputs."""
    return [{"w": jnp.zeros((width, m)), "b": jnp.zeros(width)}]


def xavier_uniform(key: Array, sizes: Sequence[int], bias: float | Array) -> Params:
    """Weights from U(-a, a), a = sqrt(6 / (inputs + outputs)) (Glorot and Bengio 2010); biases `bias`."""
    draw = jax.nn.initializers.xavier_uniform(in_axis=1, out_axis=0)
    keys = jax.random.split(key, len(sizes) - 1)
    shapes = zip(sizes[1:], sizes[:-1], strict=True)
    return [
        {"w": draw(k, shape), "b": jnp.full(shape[0], bias, draw(k, (1, 1)).dtype)}
        for k, shape in zip(keys, shapes, strict=True)
    ]


def forward(params: Params, h: Array, leak: float | Array) -> Array:
    """Outputs [n], or [n, classes], from the first layer's products h [n, width]; leaky ReLU between the layers."""
    h = h + params[0]["b"][None]
    for layer in params[1:]:
        h = leaky(h, leak) @ layer["w"].T + layer["b"][None]
    return h[:, 0] if h.shape[1] == 1 else h


def leaky(h: Array, leak: float | Array) -> Array:
    """Leaky ReLU: h where it is positive, leak * h elsewhere."""
    return jnp.where(h > 0, h, leak * h)


def dimension(params: Params) -> int:
    """Number of parameters, biases included."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
