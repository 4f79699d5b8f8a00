"""Convolutional network of the size of LeNet (LeCun, Bottou, Bengio and Haffner 1998)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from poisoncli.core.data import Array, Params, Task
from poisoncli.core.declared import as_tabled
from poisoncli.core.errors import PoisonError
from poisoncli.core.method import method, option
from poisoncli.training.layers import forward, leaky, xavier_uniform


@method
class CNN:
    """Two convolutions, each followed by leaky ReLU and the mean over 2 x 2 pixels, and two dense layers.

    Sizes and order as in LeNet-5 (LeCun et al. 1998), with zeros at the borders so that small images do too.

    image: channels, height and width of a row; empty takes a square of one channel, or of three. Rows have channel
    after channel, line by line.
    channels: of the two convolutions.
    dense: width of the hidden dense layer.
    kernel: height and width of a convolution, odd.
    leak: slope of the activation for negative inputs, in [0, 1).
    bias: initial value of every bias; weights are Xavier uniform.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")
    attacks: ClassVar[tuple[str, ...]] = ("rmd",)
    settings: ClassVar[Mapping[str, Any]] = as_tabled(140, 0.3, 0.1, 300)

    image: tuple[int, ...] = option((), low=1)
    channels: tuple[int, ...] = option((6, 16), low=1, high=1024)
    dense: int = option(64, low=1, high=100_000)
    kernel: int = option(5, low=1, high=31)
    leak: float = option(0.01, low=0, high=1)
    bias: float = 0.01

    def init(self, key: Array, m: int, outputs: int = 1) -> Params:
        """Convolutions first, w [height, width, in, out] and b [out], then dense layers, w [out, in] and b [out].

        Raises `PoisonError` where `m` features are no such image.
        """
        depth, height, width = self._shape(m)
        if self.kernel % 2 == 0 or len(self.channels) != 2:
            raise PoisonError(
                "a cnn has two convolutions with an odd kernel: give -o model.channels=6,16 -o model.kernel=5"
            )
        first, second, last = jax.random.split(key, 3)
        draw = jax.nn.initializers.xavier_uniform(in_axis=-2, out_axis=-1)
        convolutions = []
        for one, (inputs, out) in zip((first, second), ((depth, self.channels[0]), self.channels), strict=True):
            w = draw(one, (self.kernel, self.kernel, inputs, out))
            convolutions.append({"w": w, "b": jnp.full(out, self.bias, w.dtype)})
        flat = (height // 4) * (width // 4) * self.channels[1]
        return [*convolutions, *xavier_uniform(last, (flat, self.dense, outputs), self.bias)]

    def output(self, params: Params, x: Array) -> Array:
        depth, height, width = self._shape(x.shape[1])
        h = jnp.moveaxis(x.reshape(-1, depth, height, width), 1, 3)
        for layer in params[:2]:
            h = _halved(leaky(convolved(h, layer["w"]) + layer["b"][None, None, None], self.leak))
        h = h.reshape(len(x), -1)
        return forward(params[2:], h @ params[2]["w"].T, self.leak)

    def _shape(self, m: int) -> tuple[int, int, int]:
        """Channels, height and width."""
        if self.image:
            shape = self.image
        else:
            depth = next((d for d in (1, 3) if m % d == 0 and math.isqrt(m // d) ** 2 == m // d), 0)
            shape = (depth, *[math.isqrt(m // max(depth, 1))] * 2)
        if len(shape) != 3 or math.prod(shape) != m or min(shape[1:]) < 4:
            raise PoisonError(
                f"{m} features are no image for a cnn: say -o model.image=CHANNELS,HEIGHT,WIDTH, of 4 x 4 pixels "
                "at least, or take another --model"
            )
        return shape  # type: ignore[return-value]


def convolved(h: Array, w: Array) -> Array:
    """Images h [n, height, width, in] by kernels w [k, k, in, out], zeros at the borders, as one matrix product.

    XLA's own convolutions take 14 times as long on a CPU within a loop, where trainings are.
    """
    n, height, width, channels = h.shape
    k = w.shape[0]
    wider = jnp.pad(h, ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0)))
    parts = [wider[:, i : i + height, j : j + width] for i in range(k) for j in range(k)]
    patches = jnp.concatenate(parts, axis=3).reshape(-1, k * k * channels)
    return (patches @ w.reshape(k * k * channels, -1)).reshape(n, height, width, -1)


def _halved(h: Array) -> Array:
    """Means over 2 x 2 pixels [n, height, width, c]; an odd last line is left out."""
    n, height, width, c = h.shape
    h = h[:, : height // 2 * 2, : width // 2 * 2]
    return h.reshape(n, height // 2, 2, width // 2, 2, c).mean((2, 4))
