"""Searches on data that are small, or easy: they find something, or fail and leave nothing behind."""

import numpy as np
import pytest
from mails import small

from poisoncli.attacks.kkt import KKT
from poisoncli.core.errors import FailedError
from poisoncli.runs import run_file, stages
from poisoncli.runs.description import Choice, Run
from poisoncli.sanitization.additive import LinearProblem, Rows, evading_set
from poisoncli.sanitization.decoys import Decoy


@pytest.mark.sampled
@pytest.mark.parametrize("name", ["wine", "iris"])
def test_minmax_on_small_data_of_several_classes(name, tmp_path):
    """With the defaults: some pairs of classes have no feasible point under a decoy, and the others serve."""
    import sklearn.datasets

    getattr(sklearn.datasets, f"load_{name}")(as_frame=True).frame.to_csv(tmp_path / "data.csv", index=False)
    wanted = Run(
        dataset=Choice("file", {"path": str(tmp_path / "data.csv"), "target": "target"}),
        model="multisvm",  # type: ignore[arg-type]
        attack="minmax",  # type: ignore[arg-type]
        fraction=0.05,
    )
    content = stages.evaluate(stages.attack(wanted, tmp_path / "a.h5"))
    assert np.nanmax(content.poison.loss) > 0
    assert content.evaluations["none"].val_loss[0, 0] < 0.7  # the victim has learned something; 1 at the start


def test_a_search_that_fails_leaves_no_checkpoint(words, tmp_path, monkeypatch):
    def fails_later(key, problem, resume, *rest, **how):
        yield poison
        raise FailedError("no decoy can be reached")

    path = tmp_path / "a.h5"
    poison = run_file.read(stages.attack(small("alfa"), path, data_dir=words)).poison._replace(done=0)
    path.unlink()
    monkeypatch.setattr("poisoncli.attacks.alfa.search", fails_later)
    monkeypatch.setattr(stages, "CHECKPOINT_SECONDS", -1.0)
    with pytest.raises(FailedError, match="no decoy"):
        stages.attack(small("alfa"), path, data_dir=words)
    assert not list(tmp_path.iterdir())


def test_kkt_keeps_its_points_where_classes_can_be_separated():
    """The caps on the loss are quantiles of the hinge, which is 0 for rows beyond the margin, not negative."""
    rng = np.random.default_rng(0)
    y = np.where(np.arange(60) < 30, -1.0, 1.0)
    rows = Rows(rng.normal(size=(60, 4)) * 0.3 + 3 * y[:, None], y)
    linear = LinearProblem(rows, rows, 6, 0.01, "hinge", "free", -np.inf, np.inf, False, defenses=("l2",))
    theta = linear.train(rows)
    assert np.quantile(1 - y * (rows.x @ theta.w + theta.b), 0.9) < 0
    found = [Decoy(theta, 0.0, 0.0)]
    (poison,) = KKT(splits=3)._candidates(linear, evading_set(linear, ()), found, [0], [rng])
    assert poison is not None
    assert len(poison.y) == 6
    margin = poison.y * (poison.x @ theta.w + theta.b)
    np.testing.assert_allclose(margin, 1, atol=1e-4)
