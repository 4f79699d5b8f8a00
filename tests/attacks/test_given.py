"""Poison of another tool: read, checked against the training rows, and scaled as they are."""

import jax
import numpy as np
import pytest
import regression_run

from poisoncli.attacks.given import Given
from poisoncli.core.errors import PoisonError
from poisoncli.runs import replay
from poisoncli.runs.description import Choice


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


def test_points_of_real_targets_are_scaled_as_the_training_rows_are(tmp_path):
    x, y = np.full((3, 10), 0.05), np.array([100.0, 150.0, 300.0])
    np.savez(tmp_path / "p.npz", x=x, y=y)
    whole = regression_run.problem()
    (poison,) = Given(str(tmp_path / "p.npz")).craft(jax.random.key(0), whole)
    shift, scale, y_shift, y_scale = whole.units
    for r in range(2):
        np.testing.assert_allclose(poison.x[r] * scale[r] + shift[r], x, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(poison.y[r] * y_scale[r] + y_shift[r], y, rtol=1e-5)
    np.testing.assert_array_equal(poison.replaced, -1)
    np.testing.assert_array_equal(poison.counts, [0, 3])
    (none,) = Given().craft(jax.random.key(0), whole)
    np.testing.assert_array_equal(none.counts, [0])
