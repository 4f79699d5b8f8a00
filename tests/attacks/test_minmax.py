"""MinMax on several classes."""

import numpy as np
import pytest

from poisoncli.core.errors import PoisonError
from poisoncli.runs import run_file, stages
from poisoncli.runs.description import Choice, Run


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A data folder with MNIST's files, filled with small random images of ten classes; loaded as they are."""
    folder = tmp_path_factory.mktemp("digits")
    rng = np.random.default_rng(0)
    centers = rng.integers(0, 200, (4, 28 * 28))
    (folder / "mnist").mkdir()
    for part, n in (("train", 160), ("t10k", 80)):
        y = np.arange(n) % 4
        x = np.clip(centers[y] * 0.4 + rng.normal(0, 40, (n, 784)), 0, 255).astype(np.uint8)
        header = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in (n, 28, 28))
        (folder / "mnist" / f"{part}-images-idx3-ubyte").write_bytes(header + x.tobytes())
        labels = bytes([0, 0, 8, 1]) + n.to_bytes(4, "big") + y.astype(np.uint8).tobytes()
        (folder / "mnist" / f"{part}-labels-idx1-ubyte").write_bytes(labels)
    return str(folder)


@pytest.fixture
def any_content(monkeypatch):
    """Accept MNIST's files whatever they hold."""
    from poisoncli.datasets import mnist

    monkeypatch.setitem(mnist.CONTENT_MD5, "mnist", (None,) * 4)


def ten(name, digits, tmp_path, **changes):
    wanted = Run(
        dataset="mnist-10", model=changes.pop("model", "multisvm"), fraction=0.1, attack=Choice(name, changes)
    )  # type: ignore[arg-type]
    return stages.attack(wanted, tmp_path / f"{name}.h5", data_dir=digits)


@pytest.mark.parametrize("name", ["minmax", "minmax-basic"])
def test_minmax_on_several_classes(name, digits, any_content, tmp_path):
    few = {"points": 4, "burn_in": 1.0}
    path = ten(
        name, digits, tmp_path, **few, **({"repeats": (2,), "quantiles": (0.1, 0.3)} if name == "minmax" else {})
    )
    poison = run_file.read(path).poison
    assert poison.x.shape == (1, 16, 784)
    assert np.all((poison.x >= 0) & (poison.x <= 1))
    assert set(np.unique(poison.y)) <= {0, 1, 2, 3}
    assert np.all(poison.replaced == -1)
    for defense in ("l2", "slab", "loss", "knn", "svd"):
        stages.defend(path, defense, data_dir=digits)
    content = stages.evaluate(path, data_dir=digits)
    assert all(np.all(np.isfinite(found.test_error)) for found in content.evaluations.values())
    assert content.evaluations["none"].params[0]["w"].shape == (1, 2, 4, 784)


def test_refits_on_several_classes_never_lose_what_was_found(digits, any_content, tmp_path):
    found, errors = [], []
    for k in (0, 1):
        (tmp_path / str(k)).mkdir()
        path = ten("minmax-basic", digits, tmp_path / str(k), points=4, burn_in=1.0, refits=k, behind=("l2",))
        found.append(run_file.read(path).poison.loss[0, 1])
        stages.defend(path, "l2", data_dir=digits)
        judged = stages.evaluate(path, data_dir=digits).evaluations
        errors.append(judged["l2"].test_error[0, -1])
    assert [len(trace) for trace in found] == [1, 2]
    assert found[1][0] == found[0][0]
    np.testing.assert_allclose(errors, [trace.max() for trace in found], rtol=1e-6)


def test_several_classes_need_their_model_and_attack(digits, any_content, tmp_path):
    with pytest.raises(PoisonError, match=r"--model .*multisvm"):
        ten("minmax", digits, tmp_path, model="svm")
    with pytest.raises(PoisonError, match="minmax-basic"):
        ten("kkt", digits, tmp_path)
