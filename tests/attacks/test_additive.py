"""Attacks that add rows, from the command line's functions down to the file, on small data and on Enron."""

import dataclasses
import json
import os
from pathlib import Path

import jax
import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from poisoncli.core.data import Sparse
from poisoncli.core.errors import FailedError, PoisonError
from poisoncli.defenses import SANITIZERS
from poisoncli.runs import description, replay, run_file, stages
from poisoncli.runs.description import Choice, Run, resolve_defense
from poisoncli.runs.prepare import prepare, problem, restore
from poisoncli.sanitization import filters
from poisoncli.sanitization.additive import LinearProblem, Rows, best_candidates
from poisoncli.sweeps import grid

DATA_DIR = Path(os.environ.get("POISON_DATA_DIR", "data"))
needs_enron = pytest.mark.skipif(
    not (DATA_DIR / "enron" / "enron_data.mat").is_file(), reason="the processed Enron file is not at hand"
)
SMALL = {"repeats": (1, 5), "quantiles": (0.2, 0.4)}
QUICK = {
    "kkt": {**SMALL, "splits": 3},
    "minmax": {**SMALL, "burn_in": 0.5},
    "minmax-basic": {"burn_in": 0.5},
    "influence": {"starts": 1, "steps": 6},
    "influence-basic": {"steps": 3},
    "alfa": {},
}


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A data folder with a small file in the form of the processed Enron mails: 220 and 80 mails, 40 words."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    y = np.where(rng.random(300) < 0.35, 1, -1)
    rates = rng.gamma(0.4, 1.0, (2, 40))
    x = rng.poisson(rates[(y > 0).astype(int)] * 0.7 + 0.05).astype(float)
    arrays = {"X_train": x[:220], "X_test": x[220:], "y_train": y[:220, None], "y_test": y[220:, None]}
    (folder / "enron").mkdir()
    scipy.io.savemat(folder / "enron" / "enron_data.mat", arrays)
    return str(folder)


def small(name, **changes):
    options = {**QUICK[name], **changes.pop("options", {})}
    return Run(dataset="enron", model="svm", lambda_=0.05, fraction=0.05, attack=Choice(name, options), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", list(QUICK))
def test_poison_is_whole_within_its_box_counted_and_the_same_again(name, words, tmp_path):
    paths = [stages.attack(small(name), tmp_path / f"{k}.h5", data_dir=words) for k in range(2)]
    first, second = (run_file.read(path).poison for path in paths)
    assert isinstance(first.x, Sparse)
    x = first.x[0].toarray()
    assert x.shape == (11, 40)
    assert np.all(x % 1 == 0)
    assert np.all(x >= 0)
    assert np.all(first.replaced == -1)
    assert np.all(np.isin(first.y, (0, 1)))
    np.testing.assert_array_equal(x, second.x[0].toarray())
    np.testing.assert_array_equal(first.y, second.y)
    content = run_file.read(paths[0])
    assert replay.outside_domain(restore(content, words), first) == 0
    strays = replay.outside_feasible_set(content, words)
    assert set(strays) <= {"l2", "slab"}
    far = run_file.read(paths[0]).poison
    moved = dataclasses.replace(content, poison=far._replace(x=Sparse([far.x[0] * 50])))
    assert replay.outside_feasible_set(moved, words)["l2"] == 11


def test_the_attacks_beat_flips_of_the_same_number(words, tmp_path):
    errors = {}
    for name in ("kkt", "minmax", "alfa"):
        path = stages.attack(small(name), tmp_path / f"{name}.h5", data_dir=words)
        errors[name] = stages.evaluate(path, data_dir=words).evaluations["none"].test_error[0]
    assert errors["kkt"][1] > errors["kkt"][0]
    assert max(errors["kkt"][1], errors["minmax"][1]) >= errors["alfa"][1]


def test_what_the_attack_reports_is_what_the_defender_sees(words, tmp_path):
    path = stages.attack(
        small("kkt", options={"behind": ("l2", "slab", "loss", "knn")}), tmp_path / "a.h5", data_dir=words
    )
    for name in ("l2", "slab", "loss", "knn"):
        stages.defend(path, name, data_dir=words)
    content = stages.evaluate(path, data_dir=words)
    least = min(content.evaluations[name].test_error[0, 1] for name in content.defenses)
    assert least == pytest.approx(np.nanmax(content.poison.loss), abs=1e-6)
    for defended in content.defenses.values():
        away = defended.weight[0, 1] == 0
        assert 0.03 < away.mean() < 0.07


def test_a_defense_that_is_not_asked_costs_nothing(words, tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError("the svd defense was asked")

    monkeypatch.setattr(filters, "right_singular", never)
    stages.attack(small("kkt", options={"behind": ("l2", "loss")}), tmp_path / "a.h5", data_dir=words)
    with pytest.raises(AssertionError):
        stages.attack(small("kkt", options={"behind": ("svd",)}), tmp_path / "b.h5", data_dir=words)


def test_interrupted_and_resumed_poison_is_the_same(words, tmp_path, monkeypatch):
    wanted = small("kkt")
    whole = run_file.read(stages.attack(wanted, tmp_path / "whole.h5", data_dir=words)).poison
    steps = []

    def stop(done, total, what):
        steps.append(done)
        if len(steps) == 1:
            raise KeyboardInterrupt

    with pytest.raises(FailedError, match="--resume"):
        stages.attack(wanted, tmp_path / "cut.h5", data_dir=words, report=stop)
    kept = run_file.read(tmp_path / "cut.h5.partial", unfinished=True).poison
    assert 0 < kept.done < kept.total
    assert np.nanmax(kept.loss) > 0
    resumed = run_file.read(stages.attack(wanted, tmp_path / "cut.h5", data_dir=words, resume=True)).poison
    np.testing.assert_array_equal(resumed.x[0].toarray(), whole.x[0].toarray())
    np.testing.assert_array_equal(resumed.loss, whole.loss)


def test_several_repetitions_go_on_from_a_checkpoint(words):
    prepared = prepare(description.resolve(small("kkt", repetitions=2)), words)
    attack, task = description.build(prepared.run.attack, "attack"), problem(prepared)
    whole = list(attack.craft(jax.random.key(0), task))
    for part in range(len(whole) - 1):
        rest = list(attack.craft(jax.random.key(0), task, whole[part]))
        assert len(rest) == len(whole) - part - 1
        np.testing.assert_array_equal(rest[-1].loss, whole[-1].loss)
        for one, other in zip(rest[-1].x, whole[-1].x, strict=True):
            np.testing.assert_array_equal(one.toarray(), other.toarray())


def test_refits_never_lose_what_was_found(words, tmp_path):
    once, again = (
        run_file.read(
            stages.attack(small("kkt", options={"refits": k}), tmp_path / f"{k}.h5", data_dir=words)
        ).poison
        for k in (0, 1)
    )
    assert again.total == 2 * once.total
    assert np.nanmax(again.loss) >= np.nanmax(once.loss)


@pytest.mark.parametrize("target", ["train", "val"])
def test_other_target_rows(target, words, tmp_path):
    wanted = small("kkt", options={"target": target}, n_val=30)
    assert stages.attack(wanted, tmp_path / "a.h5", data_dir=words).is_file()


def test_missing_validation_rows_are_said(words, tmp_path):
    with pytest.raises(PoisonError, match="--n-val"):
        stages.attack(small("kkt", options={"target": "val"}), tmp_path / "a.h5", data_dir=words)


def test_an_unreachable_set_is_said(words):
    def candidate(number):
        raise FailedError("the feasible set is empty")

    rows = Rows(np.ones((4, 2)), np.array([-1.0, 1, -1, 1]))
    linear_problem = LinearProblem(rows, rows, 2, 0.1, "hinge", "free", np.array(0.0), np.array(1.0), False)
    with pytest.raises(FailedError, match="within the feasible set"):
        list(best_candidates(linear_problem, 3, candidate))


def test_dense_data_serve_too(tmp_path):
    wanted = Run(dataset="digits", model="svm", lambda_=0.05, fraction=0.1, attack=Choice("kkt", QUICK["kkt"]))  # type: ignore[arg-type]
    path = stages.attack(wanted, tmp_path / "a.h5")
    content = stages.evaluate(path)
    assert content.poison.x.shape == (1, 20, 64)
    assert content.evaluations["none"].test_error[0, 1] >= content.evaluations["none"].test_error[0, 0]
    assert replay.outside_domain(restore(content), content.poison) == 0


def test_a_model_that_cannot_take_sparse_rows_is_said(words, tmp_path):
    wanted = Run(dataset="enron", model="logistic", attack="rmd")  # type: ignore[arg-type]
    with pytest.raises(PoisonError, match="--model svm"):
        stages.attack(wanted, tmp_path / "a.h5", data_dir=words)


def write(path, x, y):
    if path.suffix == ".npz":
        np.savez(path, x=x, y=y)
    elif path.suffix == ".mat":
        scipy.io.savemat(path, {"X": sp.csr_matrix(x), "y": y[:, None]})
    elif path.suffix == ".h5":
        import h5py

        with h5py.File(path, "w") as file:
            file["x"], file["y"] = x, y
    else:
        header = ",".join([*(f"w{i}" for i in range(x.shape[1])), "y"])
        np.savetxt(path, np.column_stack([x, y]), delimiter=",", header=header, comments="")
    return str(path)


@pytest.mark.parametrize("suffix", [".npz", ".mat", ".csv", ".h5"])
@pytest.mark.parametrize("name", list(SANITIZERS))
def test_poison_of_a_stranger_is_judged(suffix, name, words, tmp_path):
    x = np.tile(np.r_[np.full(20, 3.0), np.zeros(20)], (10, 1))
    path = write(tmp_path / f"p{suffix}", x, np.where(np.arange(10) % 2, 1, -1))
    content = replay.with_given_poison(Choice("enron"), path, lambda_=0.05, data_dir=words)
    np.testing.assert_array_equal(content.poison.x[0].toarray(), x)
    judged = replay.reevaluate(content, [resolve_defense(Choice(name))], data_dir=words)
    assert judged.evaluations[name].test_error.shape == (1, 2)
    other = replay.reevaluate(content, [], lambda_=0.5, loss="logistic", passes=1, data_dir=words)
    assert other.evaluations["none"].test_loss[0, 1] != judged.evaluations["none"].test_loss[0, 1]


def test_points_outside_the_domain_are_counted(words, tmp_path):
    x = np.ones((4, 40))
    x[0, 0], x[1, 1] = -1, 0.5
    path = write(tmp_path / "p.npz", x, np.array([0, 1, 0, 1]))
    content = replay.with_given_poison(Choice("enron"), path, lambda_=0.05, data_dir=words)
    assert replay.outside_domain(restore(content, words), content.poison) == 2


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"x": np.ones((3, 7)), "y": np.ones(3)}, "7 features"),
        ({"x": np.ones((3, 40)), "y": np.ones(4)}, "4 labels"),
        ({"x": np.ones((3, 40)), "y": np.arange(3)}, "other labels"),
        ({"x": np.full((3, 40), np.nan), "y": np.ones(3)}, "missing or infinite"),
        ({"x": np.ones((3, 40))}, "no array 'y'"),
        ({"x": np.array([{}] * 3), "y": np.ones(3)}, "cannot be read"),
    ],
)
def test_bad_poison_files_are_said(arrays, complaint, words, tmp_path):
    np.savez(tmp_path / "p.npz", **arrays)
    with pytest.raises(PoisonError, match=complaint):
        replay.with_given_poison(Choice("enron"), str(tmp_path / "p.npz"), lambda_=0.05, data_dir=words)


def test_evaluate_verb_with_poison_and_without(words, tmp_path):
    from typer.testing import CliRunner

    from poisoncli.cli import app

    path = write(tmp_path / "p.npz", np.ones((6, 40)), np.array([0, 1] * 3))
    common = ["evaluate", "--dataset", "enron", "--data-dir", words, "--lambda", "0.05", "--json"]
    shown = CliRunner().invoke(app, [*common, "--poison", path, "--defense", "all"])
    assert shown.exit_code == 0, shown.output
    rows = json.loads(shown.stdout.splitlines()[0])["rows"]
    assert {row["defense"] for row in rows} == {"none", *SANITIZERS}
    caught = CliRunner().invoke(
        app, ["defend", "--dataset", "enron", "--data-dir", words, "--poison", path, "-d", "all", "--json"]
    )
    assert caught.exit_code == 0, caught.output
    counts = [json.loads(line) for line in caught.stdout.splitlines()]
    assert [row["defense"] for row in counts] == list(SANITIZERS)
    assert all(row["poison"] == 6 and 0 < row["clean_removed"] < 20 for row in counts)
    clean = CliRunner().invoke(app, [*common, "--defense", "l2"])
    assert clean.exit_code == 0, clean.output
    assert CliRunner().invoke(app, ["evaluate"]).exit_code == 2


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
    with pytest.raises(PoisonError, match="--model multisvm"):
        ten("minmax", digits, tmp_path, model="svm")
    with pytest.raises(PoisonError, match="minmax-basic"):
        ten("kkt", digits, tmp_path)


def test_collapse_verb(words, tmp_path):
    from typer.testing import CliRunner

    from poisoncli.cli import app

    path, out = stages.attack(small("minmax"), tmp_path / "a.h5", data_dir=words), tmp_path / "two.npz"
    shown = CliRunner().invoke(app, ["collapse", str(path), str(out), "--data-dir", words])
    assert shown.exit_code == 0, shown.output
    assert "whole numbers" in shown.stdout or "margin" in shown.stdout
    with np.load(out) as arrays:
        assert len(np.unique(arrays["x"], axis=0)) <= 2
    flips = stages.attack(Run(attack="flip"), tmp_path / "b.h5")  # type: ignore[arg-type]
    assert CliRunner().invoke(app, ["collapse", str(flips)]).exit_code == 2


@pytest.mark.parametrize("name", [name for name in grid.presets() if name.startswith("ksl")])
def test_presets_of_the_paper_are_complete(name):
    plan = grid.preset(name)
    assert plan.title.startswith(f"KSL {'Table' if 'table' in name else 'Fig.'} {name.lstrip('ksl-figtabe')}:")
    assert {cell.run.model.name for cell in plan.cells} <= {"svm", "multisvm"}


def test_a_sweep_draws_bars_and_time(words, tmp_path):
    text = """
    title = "small"
    draw = ["defenses", "time"]
    defend = ["all"]
    [base]
    dataset = "enron"
    model = "svm"
    lambda = 0.05
    fraction = 0.05
    [line.KKT]
    attack = { name = "kkt", repeats = [1, 5], quantiles = [0.2, 0.4], splits = 3 }
    """
    from typer.testing import CliRunner

    from poisoncli.cli import app

    plan, folder = grid.parse(text, "here"), tmp_path / "out"
    assert [outcome.status for outcome in grid.execute(plan, folder, data_dir=words)] == ["done"]
    content = run_file.read(folder / "kkt.h5")
    assert set(content.evaluations) == {"none", *SANITIZERS}
    assert np.all(np.diff(content.timeline, axis=0) > 0)
    assert content.timeline[-1, 1] == pytest.approx(np.nanmax(content.poison.loss))
    assert CliRunner().invoke(app, ["report", str(folder)]).exit_code == 0
    assert (folder / "figure.png").stat().st_size > 10_000


@needs_enron
def test_the_clean_victim_on_enron():
    content = replay.with_given_poison(Choice("enron"), "", data_dir=str(DATA_DIR))
    judged = replay.reevaluate(content, [resolve_defense(Choice("l2"))], bias="penalized", data_dir=str(DATA_DIR))
    assert judged.evaluations["none"].test_error[0, 0] == pytest.approx(0.029, abs=0.003)


@needs_enron
@pytest.mark.slow
def test_kkt_breaks_every_defense_on_enron(tmp_path):
    wanted = Run(
        dataset="enron", model=Choice("svm", {"bias": "penalized"}), lambda_=0.09, fraction=0.03, attack="kkt"
    )  # type: ignore[arg-type]
    path = stages.attack(wanted, tmp_path / "a.h5", data_dir=str(DATA_DIR))
    for name in SANITIZERS:
        stages.defend(path, name, data_dir=str(DATA_DIR))
    content = stages.evaluate(path, data_dir=str(DATA_DIR))
    assert min(content.evaluations[name].test_error[0, 1] for name in SANITIZERS) >= 0.20
