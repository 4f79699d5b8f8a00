"""Attack and evaluate, end to end: the attack hurts, the same seed gives the same bits, a kill loses nothing."""

import contextlib
import dataclasses
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import poisoncli
from poisoncli import Choice, FailedError, PoisonError, Run
from poisoncli.core.errors import Interrupted
from poisoncli.runs import run_file

SMALL = Run(
    attack=Choice("rmd", {"outer_steps": 6, "inner_steps": 8, "batch": 4}),
    trainer=Choice("sgd", {"epochs": 20}),
    n_train=40,
    n_val=20,
    n_test=20,
    fraction=0.2,
)


@pytest.fixture
def step_by_step(monkeypatch):
    """One outer step in each call, as on large problems."""
    monkeypatch.setattr("poisoncli.bilevel.schedule.CALL_SECONDS", 0)


def changed(run=SMALL, **fields):
    return dataclasses.replace(run, **fields)


def crafted(folder, run=SMALL, name="run.h5", **how):
    return run_file.read(poisoncli.attack(run, folder / name, **how))


def assert_same(one, other):
    """The same bits in every array of the poison."""
    for a, b in zip(one.poison, other.poison, strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    assert one.run == other.run
    for name in one.split:
        np.testing.assert_array_equal(one.split[name], other.split[name])


@pytest.mark.long
def test_attack_beats_random_flips_of_the_same_budget(tmp_path):
    losses = {}
    for method in (Choice("rmd", {"outer_steps": 30, "batch": 10}), Choice("flip", {"batch": 10})):
        run = Run(attack=method, trainer=Choice("sgd", {"epochs": 60}), fraction=0.2, n_train=100, repetitions=3)
        path = poisoncli.attack(run, tmp_path / f"{method.name}.h5")
        content = poisoncli.evaluate(path)
        assert content.poison.counts.tolist() == [0, 10, 20]
        losses[method.name] = content.evaluations["none"].val_loss
    np.testing.assert_array_equal(losses["rmd"][:, 0], losses["flip"][:, 0])
    assert np.all(losses["rmd"][:, 1:] > losses["flip"][:, 1:])
    assert np.all(np.diff(losses["rmd"].mean(axis=0)) > 0)


def test_no_poison_is_the_clean_victim(tmp_path):
    one, other = (
        poisoncli.evaluate(poisoncli.attack(changed(attack=method), tmp_path / f"{number}.h5")).evaluations["none"]
        for number, method in enumerate([SMALL.attack, Choice("flip", {"batch": 4})])
    )
    np.testing.assert_array_equal(one.val_loss[:, 0], other.val_loss[:, 0])
    np.testing.assert_array_equal(one.params[0]["w"][:, 0], other.params[0]["w"][:, 0])
    assert not np.array_equal(one.val_loss[:, 1], other.val_loss[:, 1])


def test_seed_determines_everything(tmp_path):
    one, again = (crafted(tmp_path, name=f"{number}.h5") for number in range(2))
    assert_same(one, again)
    other = crafted(tmp_path, changed(seed=1), name="other.h5")
    assert not np.array_equal(one.poison.x, other.poison.x)
    assert not np.array_equal(one.split["train"], other.split["train"])


def test_split_is_disjoint_and_poison_lies_in_the_box(tmp_path):
    content = crafted(tmp_path, changed(repetitions=2))
    for r in range(2):
        drawn = np.concatenate([content.split[name][r] for name in ("train", "val", "test")])
        assert len(set(drawn)) == 80
    assert content.poison.x.min() >= 0
    assert content.poison.x.max() <= 1


def test_repetitions_do_not_depend_on_each_other(tmp_path):
    few, more = (crafted(tmp_path, changed(repetitions=r), name=f"{r}.h5").poison for r in (1, 2))
    np.testing.assert_array_equal(few.replaced, more.replaced[:1])
    np.testing.assert_allclose(few.x, more.x[:1], atol=1e-4)


def stop_after(calls):
    """A report callback that interrupts after so many calls."""
    count = iter(range(1, 10**6))

    def report(done, total, what):
        if next(count) == calls:
            raise KeyboardInterrupt

    return report


KINDS = {
    "plain": {},
    "learned": {"learn_lambda": True},
    "repetitions": {"repetitions": 2},
    "groups": {"repetitions": 2, "learn_lambda": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_resumed_run_equals_an_uninterrupted_one(tmp_path, step_by_step, monkeypatch, kind):
    if kind == "groups":
        monkeypatch.setattr("poisoncli.bilevel.schedule.CPU_MEMORY", 1)
    run, seen = changed(**KINDS[kind]), []
    whole = crafted(tmp_path, run, "whole.h5", report=lambda done, total, what: seen.append((done, total)))
    total = (2 + ("learn_lambda" in KINDS[kind])) * 6 * (2 if kind == "groups" else 1)
    assert seen == [(done, total) for done in range(1, total + 1)]
    for calls in (1, 3, 6, 7, total):
        folder = tmp_path / str(calls)
        folder.mkdir()
        with pytest.raises(Interrupted, match=r"interrupted: .* --resume"):
            crafted(folder, run, report=stop_after(calls))
        assert [path.name for path in folder.iterdir()] == ["run.h5.partial"]
        assert run_file.read(folder / "run.h5.partial", unfinished=True).poison.done == calls
        assert_same(crafted(folder, run, resume=True), whole)
        assert [path.name for path in folder.iterdir()] == ["run.h5"]


def test_repeated_interruptions_lose_nothing(tmp_path, step_by_step):
    whole = crafted(tmp_path, name="whole.h5")
    for _ in range(4):
        with pytest.raises(FailedError, match="interrupted"):
            crafted(tmp_path, resume=True, report=stop_after(2))
    assert run_file.read(tmp_path / "run.h5.partial", unfinished=True).poison.done == 8
    assert_same(crafted(tmp_path, resume=True), whole)


class Interrupting:
    """An array that is interrupted while it is fetched from the device, as by Ctrl-C during a long call."""

    def __init__(self, array):
        self.array, self.shape = array, array.shape

    def __getitem__(self, index):
        return self.array[index]

    def __array__(self, *_, **__):
        raise KeyboardInterrupt


def test_interruption_between_two_results_saves_neither(tmp_path, step_by_step, monkeypatch):
    from poisoncli.attacks import rmd

    whole, original, count = crafted(tmp_path, name="whole.h5"), rmd.hyperiterations, iter(range(10**6))

    def interrupted(*args, **kwargs):
        front, (loss, *others) = original(*args, **kwargs)
        return front, (Interrupting(loss) if next(count) == 4 else loss, *others)

    monkeypatch.setattr(rmd, "hyperiterations", interrupted)
    with pytest.raises(FailedError, match="interrupted"):
        crafted(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr("poisoncli.bilevel.schedule.CALL_SECONDS", 0)
    assert run_file.read(tmp_path / "run.h5.partial", unfinished=True).poison.done == 4
    assert_same(crafted(tmp_path, resume=True), whole)


def test_checkpoints_are_written_after_every_batch(tmp_path, monkeypatch):
    written, original = [], run_file.write

    def note(path, content):
        written.append((path.name, content.poison.done))
        original(path, content)

    monkeypatch.setattr(run_file, "write", note)
    crafted(tmp_path, changed(fraction=0.3))
    assert written == [("run.h5.partial", 6), ("run.h5.partial", 12), ("run.h5", 18)]


def test_full_disk_at_a_checkpoint_is_a_failure(tmp_path, monkeypatch):
    def full(path, content):
        raise FailedError("cannot write: free some space")

    monkeypatch.setattr(run_file, "write", full)
    with pytest.raises(FailedError, match="free some space"):
        crafted(tmp_path)
    assert not list(tmp_path.iterdir())


def test_resume_of_a_finished_run_changes_nothing(tmp_path):
    path = poisoncli.attack(SMALL, tmp_path / "run.h5")
    before = path.stat().st_mtime_ns
    assert poisoncli.attack(SMALL, path, resume=True) == path
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("fields", [{"seed": 1}, {"fraction": 0.3}, {"attack": Choice("flip")}, {"n_test": 10}])
def test_resume_with_other_options_is_refused(tmp_path, step_by_step, fields):
    with pytest.raises(FailedError):
        crafted(tmp_path, report=stop_after(1))
    before = (tmp_path / "run.h5.partial").read_bytes()
    with pytest.raises(PoisonError, match="belongs to a run with other options"):
        crafted(tmp_path, changed(**fields), resume=True)
    assert (tmp_path / "run.h5.partial").read_bytes() == before


def test_nothing_is_overwritten_unless_forced(tmp_path, step_by_step):
    path = poisoncli.attack(SMALL, tmp_path / "run.h5")
    before = path.read_bytes()
    with pytest.raises(PoisonError, match="exists: --force replaces it"):
        crafted(tmp_path, changed(seed=1))
    assert path.read_bytes() == before
    assert '"seed": 1' in crafted(tmp_path, changed(seed=1), force=True).run
    with pytest.raises(FailedError):
        crafted(tmp_path, name="new.h5", report=stop_after(1))
    with pytest.raises(
        PoisonError, match=r"new.h5.partial exists, the checkpoint of an attack .* --resume goes on"
    ):
        crafted(tmp_path, name="new.h5")
    with pytest.raises(PoisonError, match="contradict"):
        crafted(tmp_path, name="new.h5", force=True, resume=True)


def test_divergence_is_a_failure_with_a_cure(tmp_path):
    run = changed(lambda_=1e30)
    with pytest.raises(FailedError, match=r"diverged .*: try a smaller"):
        crafted(tmp_path, run)
    assert not list(tmp_path.iterdir())


LONG = changed(
    attack=Choice("rmd", {"outer_steps": 40, "inner_steps": 20, "batch": 1}), n_train=60, fraction=0.4, seed=3
)
OPTIONS = (
    *("--n-train", "60", "--n-val", "20", "--n-test", "20", "--fraction", "0.4", "--seed", "3", "--quiet"),
    *("-o", "batch=1", "-o", "outer_steps=40", "-o", "inner_steps=20", "-o", "trainer.epochs=20"),
)


def kill_after(command, partial, checkpoints):
    """Start `command`, kill -9 it after so many changes of the checkpoint; how often it changed."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seen = {partial.stat().st_mtime_ns} if partial.exists() else set()
    start = len(seen)
    while process.poll() is None and len(seen) - start < checkpoints:
        with contextlib.suppress(FileNotFoundError, subprocess.TimeoutExpired):
            seen.add(partial.stat().st_mtime_ns)
            process.wait(0.001)
    process.kill()
    process.wait()
    return len(seen) - start


@pytest.mark.long
def test_killed_run_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    whole, path, partial = crafted(tmp_path, LONG, "whole.h5"), tmp_path / "run.h5", tmp_path / "run.h5.partial"
    command = [sys.executable, "-m", "poisoncli", "attack", *OPTIONS, "--resume", "--out", path]
    for checkpoints in np.random.default_rng().integers(1, 6, 3):
        assert kill_after(command, partial, checkpoints) >= 1
        assert not path.exists()
        begun = run_file.read(partial, unfinished=True).poison
        assert 0 < begun.done < begun.total
    subprocess.run(command, check=True, capture_output=True)
    assert_same(run_file.read(path), whole)
    assert not partial.exists()


@pytest.mark.parametrize("save", [True, False])
def test_evaluation_is_kept_and_repeatable(tmp_path, save):
    path = poisoncli.attack(SMALL, tmp_path / "run.h5")
    content = poisoncli.evaluate(path, save=save)
    assert ("none" in run_file.read(path).evaluations) == save
    before = path.read_bytes()
    again = poisoncli.evaluate(path, save=save)
    assert path.read_bytes() == before
    one, other = content.evaluations["none"], again.evaluations["none"]
    np.testing.assert_array_equal(one.val_loss, other.val_loss)
    np.testing.assert_array_equal(one.params[0]["w"], other.params[0]["w"])


@pytest.fixture
def table(tmp_path):
    """A user's CSV in units of its own, one column constant."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3)) * [100, 0.01, 1] + [1000, 0, -5]
    lines = [f"{a},{b},{c},7,{'spam' if a > 1000 else 'ham'}" for a, b, c in x]
    path = tmp_path / "mail.csv"
    path.write_text("a,b,c,d,kind\n" + "\n".join(lines) + "\n")
    return path


def test_evaluation_after_a_change_of_the_data_is_refused(tmp_path, table):
    run = changed(dataset=Choice("file", {"path": str(table), "target": "kind"}), n_train=0, n_val=0, n_test=0)
    path = poisoncli.attack(run, tmp_path / "run.h5")
    table.write_text(table.read_text().replace(",7,", ",8,", 1))
    before = path.read_bytes()
    with pytest.raises(PoisonError, match="has changed since the poison was crafted"):
        poisoncli.evaluate(path)
    assert path.read_bytes() == before


@pytest.mark.long
def test_a_lambda_for_each_layer(tmp_path):
    run = changed(model=Choice("mlp", {"hidden": (4, 3)}), learn_lambda=True, per_layer=True, repetitions=2)
    content = poisoncli.evaluate(poisoncli.attack(run, tmp_path / "run.h5"))
    assert content.poison.log_lambda.shape == (2, 3, 3)
    assert np.all(np.isfinite(content.poison.log_lambda))
    assert len(content.evaluations["none"].params) == 3
    assert content.evaluations["none"].norm.shape == (2, 3, 3)


def test_a_fixed_lambda_stays(tmp_path):
    content = crafted(tmp_path, changed(lambda_=0.05))
    np.testing.assert_allclose(np.exp(content.poison.log_lambda) / 40, 0.05, rtol=1e-6)
    assert not np.isfinite(crafted(tmp_path, name="none.h5").poison.log_lambda).any()


def test_learned_lambdas_keep_their_bounds(tmp_path):
    bounds = {"log_lambda_min": -0.5, "log_lambda_max": 0.25}
    run = changed(learn_lambda=True, attack=Choice("rmd", {**SMALL.attack.options, **bounds}))
    found = crafted(tmp_path, run).poison.log_lambda
    assert np.all((found >= -0.5) & (found <= 0.25))
    assert jnp.isfinite(found).all()


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"n_train": 400}, "420|440 rows were asked for"),
        ({"fraction": 0.01}, "less than one row: raise it"),
        ({"attack": Choice("rmd", {"batch": 41})}, "batch of 41 is larger"),
        ({"dataset": Choice("digits", {"classes": (0, 1, 2)}), "model": Choice("svm")}, "3 classes"),
        ({"dataset": Choice("digits", {"classes": (0,)})}, "two or more"),
        ({"dataset": Choice("digits", {"classes": (0, 11)})}, "no class 11"),
    ],
)
def test_requests_that_the_data_cannot_meet(tmp_path, fields, match):
    with pytest.raises(PoisonError, match=match):
        crafted(tmp_path, changed(**fields))
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_all_but_one_row_can_be_poison(tmp_path):
    content = crafted(tmp_path, changed(fraction=1 - 1e-12))
    assert content.poison.counts[-1] <= 39
