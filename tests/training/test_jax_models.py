"""Models of the user's own: functions, Equinox and Flax modules; their hypergradients, and what is refused."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import FREE, Case, digits
from typer.testing import CliRunner

from poisoncli.bilevel.bilevel_problem import BilevelProblem
from poisoncli.bilevel.hypergradient import forward
from poisoncli.bilevel.reverse import reverse
from poisoncli.cli import app
from poisoncli.core.errors import PoisonError
from poisoncli.core.losses import softmax_cross_entropy
from poisoncli.core.victim import Objective
from poisoncli.runs import plugins, run_file
from poisoncli.training import jax_models, own_models
from poisoncli.training.descent import fit
from poisoncli.training.trainers import SGD

PAGE = (Path(__file__).parents[2] / "docs" / "plugins" / "jax-model.md").read_text(encoding="utf-8")
EXAMPLES = dict(
    zip(("equinox", "nnx", "linen", "functions"), re.findall(r"```python\n(.*?)```", PAGE, re.S), strict=True)
)
NEEDS = {"equinox": "equinox", "nnx": "flax", "linen": "flax", "functions": "jax"}
KINDS = [
    pytest.param(
        kind,
        marks=pytest.mark.skipif(importlib.util.find_spec(library) is None, reason=f"{library} is not installed"),
    )
    for kind, library in NEEDS.items()
]


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """Tables, modules and paths are as before."""
    models, modules = dict(plugins.MODELS), set(sys.modules)
    monkeypatch.setattr(plugins, "_sources", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    plugins.MODELS.clear()
    plugins.MODELS.update(models)
    for name in set(sys.modules) - modules:
        if "/pytest-" in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def own(tmp_path):
    """Writes a file of the user's, and gives the model that it calls `name`."""

    def write(text, name="tanh_net"):
        path = tmp_path / "own.py"
        path.write_text(text)
        return jax_models.as_model(own_models.find(f"{path}:{name}", "--model"), name)()

    return write


def case(model):
    objective = Objective(model, softmax_cross_entropy, "l2", 14.0, outputs=3)
    start = objective.init(jax.random.key(3), 64, jnp.float64)
    return Case(objective, start, jnp.asarray([0.3]), digits(14, 1, (0, 3, 8)), digits(10, 2, (0, 3, 8)))


def found(one, x_free, method):
    @jax.jit
    def run(x_free):
        rows = one.rows(x_free, compressed=True)
        problem = BilevelProblem(
            one.objective, SGD(0.1, 9), one.start, one.log_lambda, rows, one.target, FREE, None
        )
        return (forward(problem) if method is forward else reverse(problem, False)).x

    return np.asarray(run(x_free))


@pytest.mark.parametrize("kind", KINDS)
def test_hypergradients_agree_with_forward_mode_and_finite_differences(standard, own, kind):
    """To round-off, and to 1e-6."""
    one, step = case(own(EXAMPLES[kind])), 1e-5
    free = jnp.asarray(one.train.x[-FREE:])
    result = found(one, free, reverse)
    assert np.linalg.norm(result) > 1e-4
    assert np.linalg.norm(result - found(one, free, forward)) <= 1e-10 * np.linalg.norm(result)

    @jax.jit
    def loss(x):
        return one.objective.clean_loss(
            fit(one.objective, SGD(0.1, 9), one.start, one.log_lambda, one.rows(x)), one.target
        )

    moves = np.random.default_rng(0).normal(size=(8, *free.shape))
    slopes = np.array([(loss(free + step * move) - loss(free - step * move)) / (2 * step) for move in moves])
    along = np.tensordot(moves, result, 2)
    assert np.linalg.norm(along - slopes) <= 1e-6 * np.linalg.norm(along)


@pytest.mark.parametrize("kind", KINDS)
def test_modules_answer_as_they_would_by_themselves(own, kind):
    model = own(EXAMPLES[kind])
    params = model.init(jax.random.key(1), 4, 3)
    again, other = (model.init(jax.random.key(key), 4, 3) for key in (1, 2))
    assert all(map(np.array_equal, jax.tree.leaves(params), jax.tree.leaves(again)))
    assert not all(map(np.array_equal, jax.tree.leaves(params), jax.tree.leaves(other)))
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    shapes = {leaf.shape: np.asarray(leaf) for leaf in jax.tree.leaves(params)}
    first = shapes.get((4, 8), shapes[(8, 4)].T if (8, 4) in shapes else None)
    last = shapes.get((8, 3), shapes[(3, 8)].T if (3, 8) in shapes else None)
    assert first is not None
    assert last is not None
    by_hand = np.tanh(x @ first + shapes.get((8,), 0)) @ last + shapes.get((3,), 0)
    np.testing.assert_allclose(model.output(params, x), by_hand, rtol=1e-5, atol=1e-6)
    two = model.init(jax.random.key(1), 4, 1)
    assert model.output(two, x).shape == (5,)
    assert model.output(params, x).shape == (5, 3)  # other sizes do not disturb it


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_attacked_and_its_run_file_opens_without_it(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(EXAMPLES[kind])
    sizes = ("--n-train", 40, "--n-val", 20, "--n-test", 20, "--fraction", 0.1)
    few = ("-o", "outer_steps=2", "-o", "inner_steps=4", "-o", "trainer.epochs=5", "--quiet")

    def poison(*words, status=0):
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == status, result.output
        return result

    poison("attack", "--model", "own.py:tanh_net", "--classes", "0,1,3", *sizes, *few)
    assert run_file.read(tmp_path / "run.h5").plugins == {"model tanh_net": "file own.py:tanh_net"}
    del plugins.MODELS["tanh_net"]
    plugins._sources.clear()
    missing = poison("evaluate", "run.h5", status=2).stderr
    assert (
        "the model tanh_net is from file own.py:tanh_net, which is not here: bring it with --plugin own.py"
        in missing
    )
    shown = poison("evaluate", "run.h5", "--plugin", "own.py:tanh_net").stdout
    del plugins.MODELS["tanh_net"]
    assert poison("evaluate", "run.h5").stdout == shown
    assert "tanh_net" in shown


GOOD = EXAMPLES["functions"]


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("1 / 0", "net", "own.py does not import .ZeroDivisionError"),
        ("import absent_library", "net", "there is no module absent_library"),
        (GOOD, "tanh_nett", "has no tanh_nett: did you mean tanh_net"),
        ("net = 3", "net", "is no model .it is of type int, without init and output.: give init"),
        ("def net(width):\n    return 3", "net", "makes a int, which is no module"),
        ("def net(width, depth):\n    return 3", "net", "asks for width, depth, which nothing gives"),
        (
            GOOD.replace('@ params["out"]', ""),
            "tanh_net",
            r"gives outputs of shape \(5, 8\) for 5 rows, and not \(5, 3\)",
        ),
        (GOOD.replace("jnp.tanh(", "jnp.log(0 * "), "tanh_net", "gives outputs that are not finite"),
        (
            GOOD.replace("jnp.tanh(x", "jnp.tanh(jax.lax.stop_gradient(x)"),
            "tanh_net",
            "has no gradient to its rows",
        ),
        (GOOD.replace("(x @", "(jnp.round(x) @"), "tanh_net", "has no gradient to its rows"),
        (
            GOOD.replace('{"in"', '{"n": jnp.arange(3), "in"'),
            "tanh_net",
            "are no floats .*int32.: train floats alone",
        ),
        (
            GOOD.replace("return jnp.tanh", "return jnp.odd"),
            "tanh_net",
            "does not answer for rows .5, 64. .AttributeError",
        ),
        (GOOD.replace("split(key)", "split(key, 3)"), "tanh_net", "cannot be made for 64 features .ValueError"),
    ],
)
def test_what_is_no_model_is_refused_in_a_sentence(own, text, name, says):
    x = np.random.default_rng(0).random((5, 64)).astype(np.float32)

    def held():
        jax_models.check(Objective(own(text, name), softmax_cross_entropy, "none", 5.0, outputs=3), x, name)

    with pytest.raises(PoisonError, match=says) as caught:
        held()
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(importlib.util.find_spec("flax") is None, reason="flax is not installed")
def test_batch_statistics_are_refused(own):
    nnx = EXAMPLES["nnx"].replace("nnx.Linear(8, outputs, rngs=rngs)", "nnx.BatchNorm(8, rngs=rngs)")
    linen = EXAMPLES["linen"].replace("linen.Dense(8)(x)", "linen.BatchNorm(use_running_average=False)(x)")
    for text in (nnx, linen):
        with pytest.raises(PoisonError, match=r"keeps batch.statistics|keeps batch_stats|batch statistics"):
            own(text).init(jax.random.key(0), 4, 3)


@pytest.mark.skipif(importlib.util.find_spec("equinox") is None, reason="equinox is not installed")
def test_an_instance_starts_at_its_own_weights_and_gets_images(own):
    text = """
import equinox as eqx, jax
class Net(eqx.Module):
    conv: eqx.nn.Conv2d
    last: eqx.nn.Linear
    row_shape = (1, 8, 8)
    def __init__(self, key):
        one, two = jax.random.split(key)
        self.conv, self.last = eqx.nn.Conv2d(1, 2, 3, key=one), eqx.nn.Linear(72, 2, key=two)
    def __call__(self, x):
        return self.last(jax.nn.tanh(self.conv(x)).ravel())
net = Net(jax.random.key(4))
"""
    model = own(text, "net")
    one, other = (jax.tree.leaves(model.init(jax.random.key(key), 64, 1)) for key in (0, 1))
    assert all(map(np.array_equal, one, other))
    x = np.random.default_rng(0).random((5, 64)).astype(np.float32)
    params = model.init(jax.random.key(0), 64, 1)
    both = np.stack([own_models.find(f"{sys.modules['own'].__file__}:net")(row.reshape(1, 8, 8)) for row in x])
    np.testing.assert_allclose(model.output(params, x), both[:, 1] - both[:, 0], rtol=1e-5)  # two logits as one


def test_functions_that_take_rows_to_start_with(own):
    text = GOOD.replace("def init(key, m, outputs):", "def init(key, x):\n    m, outputs = x.shape[1], 1")
    model = own(text)
    assert model.init(jax.random.key(0), 7)["in"].shape == (7, 8)
