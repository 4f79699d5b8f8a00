"""The convolutional network, against the same written with SciPy's correlation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate

from poisoncli.core import stability
from poisoncli.core.errors import PoisonError
from poisoncli.models.cnn import CNN, convolved_and_halved
from poisoncli.reports import measures
from poisoncli.runs import stages
from poisoncli.runs.description import Choice, Run
from poisoncli.runs.prepare import restore


def by_hand(model, params, image):
    """Outputs [outputs] for one image [channels, height, width]."""

    def leaky(h):
        return np.where(h > 0, h, model.leak * h)

    h = image
    for layer in params[:2]:
        w, b = np.asarray(layer["w"]), np.asarray(layer["b"])
        maps = [
            sum(correlate(h[i], w[:, :, i, o], mode="same", method="direct") for i in range(w.shape[2])) + b[o]
            for o in range(w.shape[3])
        ]
        h = leaky(np.stack(maps))
        h = h[:, : h.shape[1] // 2 * 2, : h.shape[2] // 2 * 2]
        h = h.reshape(len(h), h.shape[1] // 2, 2, h.shape[2] // 2, 2).mean((2, 4))
    h = np.moveaxis(h, 0, 2).ravel()
    h = leaky(np.asarray(params[2]["w"]) @ h + np.asarray(params[2]["b"]))
    return np.asarray(params[3]["w"]) @ h + np.asarray(params[3]["b"])


@pytest.mark.parametrize("image", [(), (1, 8, 8), (2, 4, 8), (1, 9, 7)])
def test_output_is_that_of_the_formula(image):
    model = CNN(image=image, channels=(2, 3), dense=5, kernel=3, leak=0.2)
    shape = image or (1, 8, 8)
    params = model.init(jax.random.key(0), int(np.prod(shape)), 4)
    x = np.random.default_rng(0).normal(size=(3, *shape))
    expected = np.stack([by_hand(model, params, one) for one in x])
    np.testing.assert_allclose(model.output(params, jnp.asarray(x.reshape(3, -1))), expected, rtol=1e-4, atol=1e-5)


def test_color_is_three_planes():
    model = CNN()
    assert model.init(jax.random.key(0), 3072)[0]["w"].shape == (5, 5, 3, 6)
    assert model.output(model.init(jax.random.key(0), 3072), jnp.zeros((2, 3072))).shape == (2,)


@pytest.mark.parametrize(("options", "m", "says"), [
    ({}, 65, "65 features are no image for a cnn: say -o model.image"),
    ({"image": (1, 8, 9)}, 64, "64 features are no image"),
    ({"kernel": 4}, 64, "odd kernel"),
])  # fmt: skip
def test_what_is_no_image_is_refused(options, m, says):
    with pytest.raises(PoisonError, match=says):
        CNN(**options).init(jax.random.key(0), m)


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_products_are_the_convolutions_of_jax(kernel):
    """With zeros at the borders, and so their gradients."""
    draw = np.random.default_rng(0)
    h = draw.normal(size=(3, 6, 7, 2)).astype(np.float32)
    w, b = draw.normal(size=(kernel, kernel, 2, 4)).astype(np.float32), draw.normal(size=4).astype(np.float32)

    def theirs(h, w, b, leak):
        found = jax.lax.conv_general_dilated(h, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        found = jax.nn.leaky_relu(found + b[None, None, None], leak)[:, :, :6]
        return found.reshape(3, 3, 2, 3, 2, 4).mean((2, 4))

    np.testing.assert_allclose(convolved_and_halved(h, w, b, 0.2), theirs(h, w, b, 0.2), rtol=1e-4, atol=1e-4)
    ours, other = (
        jax.grad(lambda h, w, b, f=f: jnp.sum(f(h, w, b, 0.2) ** 2), argnums=(0, 1, 2))(h, w, b)
        for f in (convolved_and_halved, theirs)
    )
    for one, two in zip(ours, other, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-2)


def test_too_large_a_network_is_refused_before_it_is_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("POISON_MEMORY", "0.004")
    run = Run(model=Choice("cnn"), attack=Choice("flip"), n_train=300, n_val=20, n_test=20)
    with pytest.raises(
        PoisonError, match=r"training model cnn of .* parameters needs about .* choose a smaller one"
    ):
        stages.attack(run, tmp_path / "run.h5")


@pytest.mark.long
def test_poison_against_a_cnn(tmp_path):
    """The attack moves pixels within their range, and the run file keeps the network and tells it."""
    run = Run(
        dataset=Choice("digits", {"classes": (0, 1, 8)}),
        model=Choice("cnn", {"channels": (3, 4), "dense": 8, "kernel": 3}),
        trainer=Choice("momentum", {"epochs": 40, "rate": 0.1}),
        attack=Choice("rmd", {"outer_steps": 2, "batch": 12, "inner_steps": 20, "inner_rate": 0.1}),
        n_train=60,
        n_val=45,
        n_test=90,
        fraction=0.2,
    )
    content = stages.evaluate(stages.attack(run, tmp_path / "cnn.h5"))
    found, poison = content.evaluations["none"], content.poison
    start = np.take_along_axis(restore(content).split.train.x, poison.replaced[:, :, None], axis=1)
    assert np.all(np.any(poison.x != start, axis=2))
    assert poison.x.min() >= 0
    assert poison.x.max() <= 1
    assert found.test_error[0, 0] < 0.5
    assert stability.histogram(measures.weights(content, 0), measures.weights(content, -1))
    assert measures.selected(content) == ()
    assert [layer["w"].shape[2:] for layer in found.params] == [(3, 3, 1, 3), (3, 3, 3, 4), (8, 16), (3, 8)]
    assert found.norm.shape == (1, 2, 4)
