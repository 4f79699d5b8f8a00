"""The KKT attack from a `Run` to its file: what it reports, resumes, refits and refuses."""

import jax
import numpy as np
import pytest
from linear_rows import linear_problem
from mails import QUICK, small

from poisoncli.attacks.kkt import target_gradient, two_points
from poisoncli.core.errors import FailedError, PoisonError
from poisoncli.runs import description, replay, run_file, stages
from poisoncli.runs.description import Choice, Run
from poisoncli.runs.prepare import prepare, restore
from poisoncli.runs.problem import problem
from poisoncli.sanitization import filters
from poisoncli.sanitization.additive import SIGNS, Rows, capped, evading_set, stack
from poisoncli.sanitization.decoys import Decoy


@pytest.mark.long
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


@pytest.mark.long
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


def test_dense_data_serve_too(tmp_path):
    wanted = Run(dataset="digits", model="svm", lambda_=0.05, fraction=0.1, attack=Choice("kkt", QUICK["kkt"]))  # type: ignore[arg-type]
    path = stages.attack(wanted, tmp_path / "a.h5")
    content = stages.evaluate(path)
    assert content.poison.x.shape == (1, 20, 64)
    assert content.evaluations["none"].test_error[0, 1] >= content.evaluations["none"].test_error[0, 0]
    assert replay.outside_domain(restore(content), content.poison) == 0


def test_kkt_points_make_an_attainable_decoy_optimal():
    problem = linear_problem(count=60)
    goal = np.array([[0.2] * 6, [-0.1] * 6])
    poison = Rows(np.repeat(goal, [20, 40], axis=0), np.repeat(SIGNS, [20, 40]))
    theta = problem.train(stack(problem.clean, poison))
    decoy = Decoy(theta, 0.0, 0.0)
    gradient, _ = target_gradient(problem, decoy)
    wide = evading_set(problem, (), 1.0)
    margin = SIGNS * (goal @ theta.w + theta.b)
    feasible = capped(wide, theta, np.full(2, 5.0), support=True)
    (x,), (value,) = two_points(problem, [decoy], feasible, gradient[None], np.array([[20, 40]]) / 200)
    found = problem.train(stack(problem.clean, Rows(np.repeat(x, [20, 40], axis=0), poison.y)))
    assert np.all(margin <= 1)
    assert value < 0.05 * gradient @ gradient
    assert (
        np.linalg.norm(found.w - theta.w) < 0.35 * np.linalg.norm(problem.train(problem.clean).w - theta.w) + 0.05
    )
