"""MinMax: candidates as one array, and several classes."""

import numpy as np
import pytest
import scipy.sparse as sp
from linear_rows import linear_problem

from poisoncli.attacks.kkt import KKT
from poisoncli.attacks.minmax import MinMax, highest_loss_points
from poisoncli.core.errors import PoisonError
from poisoncli.runs import run_file, stages
from poisoncli.runs.description import Choice, Run
from poisoncli.sanitization.additive import LinearProblem, Rows, capped, evading_set
from poisoncli.sanitization.feasible_set import joined


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


@pytest.mark.sampled
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


@pytest.mark.long
def test_several_classes_with_the_whole_learner_and_every_decoy(digits, any_content, tmp_path):
    few = {"points": 16, "burn_in": 1.0, "repeats": (1, 2, 3, 4, 5, 6), "quantiles": (0.1, 0.2, 0.3, 0.4, 0.5)}
    path = ten("minmax", digits, tmp_path, **few, learner_rows=0, grid="all")
    found = run_file.read(path).poison
    assert found.loss.shape[2] == 30  # of the few: 3 x 1
    assert 4 < len(np.unique(found.x[0], axis=0)) <= 16  # as many points as poison rows, some of them the same
    sampled = run_file.read(ten("minmax-basic", digits, tmp_path, points=4, burn_in=1.0, learner_rows=20)).poison
    (tmp_path / "whole").mkdir()
    whole = run_file.read(
        ten("minmax-basic", digits, tmp_path / "whole", points=4, burn_in=1.0, learner_rows=0)
    ).poison
    assert not np.array_equal(sampled.x, whole.x)


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


def counts_of_words(n=120, d=40):
    rng = np.random.default_rng(3)
    y = np.where(np.arange(n) % 3 == 0, 1.0, -1.0)
    x = rng.poisson(np.where(y[:, None] > 0, 0.6, 0.3) * rng.random(d) * 2, (n, d)).astype(float)
    return LinearProblem(
        clean=Rows(sp.csr_matrix(x[:80]), y[:80]), target=Rows(sp.csr_matrix(x[80:]), y[80:]), size=8, lambda_=0.05,
        loss="hinge", bias="free", low=np.array(0.0), high=np.array(np.inf), integer=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    "attack", [KKT(repeats=(2, 5), quantiles=(0.2, 0.4), splits=3), MinMax(repeats=(2, 5), quantiles=(0.2, 0.4))]
)
@pytest.mark.parametrize("whole", [counts_of_words(), linear_problem()])
def test_candidates_crafted_as_one_array_are_as_each_alone(attack, whole):
    feasible = evading_set(whole)
    count, found = attack._plan(whole)
    numbers = range(count)
    together = attack._candidates(whole, feasible, found, numbers, [np.random.default_rng(n) for n in numbers])
    assert sum(one is not None for one in together) > 1
    for number, one in zip(numbers, together, strict=True):
        (alone,) = attack._candidates(whole, feasible, found, [number], [np.random.default_rng(number)])
        assert (one is None) == (alone is None)
        if one is not None and alone is not None:
            dense = [part.x.toarray() if sp.issparse(part.x) else part.x for part in (one, alone)]
            np.testing.assert_allclose(dense[0], dense[1], atol=1e-7)
            np.testing.assert_array_equal(one.y, alone.y)


def test_an_empty_set_among_others_leaves_them_alone():
    whole = counts_of_words()
    feasible, theta = evading_set(whole), whole.train(whole.clean)
    sets = [capped(feasible, theta, np.full(2, cap)) for cap in (2.0, -1e6, 1.5)]
    attack = MinMax()
    draws = [np.random.default_rng(n) for n in range(3)]
    found = highest_loss_points(whole, joined(sets), attack.rate, 1.0, 2, draws)
    assert [one is None for one in found] == [False, True, False]
