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
            h = convolved_and_halved(h, layer["w"], layer["b"], self.leak)
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


def convolved_and_halved(h: Array, w: Array, b: Array, leak: float) -> Array:
    """Means over 2 x 2 pixels of leaky ReLU of images h [n, height, width, in] by kernels w [k, k, in, out] plus b.

    With zeros at the borders; an odd last line of the result is left out. It is one matrix product of all that the
    four outputs of a square see: patches are then fewer and wider than with one for each pixel, and on a CPU it is
    moving them about that costs. (XLA's own convolutions take far longer within a loop, where trainings are.)
    """
    n, height, width, channels = h.shape
    k, out = w.shape[0], w.shape[3]
    reach = (k // 2 + 1) // 2  # squares to each side that a square's outputs see
    span, lines, columns = 2 * reach + 1, height // 2, width // 2
    border = [(2 * reach, 2 * (size // 2 + reach) - size, 0) for size in (height, width)]
    wider = jax.lax.pad(h, jnp.zeros((), h.dtype), ((0, 0, 0), *border, (0, 0, 0)))
    squares = wider.reshape(n, lines + 2 * reach, 2, columns + 2 * reach, 2, channels)
    squares = squares.transpose(0, 1, 3, 2, 4, 5).reshape(n, lines + 2 * reach, columns + 2 * reach, 4 * channels)
    parts = [squares[:, i : i + lines, j : j + columns] for i in range(span) for j in range(span)]
    patches = jnp.concatenate(parts, axis=3).reshape(-1, span**2 * 4 * channels)
    product = leaky(patches @ _of_squares(w, reach) + jnp.tile(b, 4)[None], leak)
    return product.reshape(n, lines, columns, 4, out).mean(3)


def _of_squares(w: Array, reach: int) -> Array:
    """Kernels [k, k, in, out] as a matrix from the pixels of span x span squares to the outputs of the middle one.

    Pixels are in order of squares, and within a square line by line; outputs [4 out] line by line.
    """
    k, _, channels, out = w.shape
    span, first = 2 * reach + 1, 2 * reach - k // 2
    shifted = []
    for line, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        border = [(first + at, 2 * span - k - first - at) for at in (line, column)]
        shifted.append(jnp.pad(w, (*border, (0, 0), (0, 0))))
    whole = jnp.stack(shifted, axis=3).reshape(span, 2, span, 2, channels, 4 * out)
    return whole.transpose(0, 2, 1, 3, 4, 5).reshape(span**2 * 4 * channels, 4 * out)
