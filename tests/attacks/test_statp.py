"""StatP: rows at the corners of the clean rows' range, whose targets the clean model finds the least likely."""

import jax
import numpy as np
import regression_run

from poisoncli.attacks.statp import StatP


def test_rows_are_corners_with_targets_far_from_what_the_clean_model_says():
    whole = regression_run.problem()
    (poison,) = StatP().craft(jax.random.key(0), whole)
    (again,) = StatP().craft(jax.random.key(0), whole)
    np.testing.assert_array_equal(poison.x, again.x)
    for r in range(2):
        x, y = whole.train.x[r], whole.train.y[r]
        low, high = x.min(0), x.max(0)
        at_high = poison.x[r] == high
        assert np.all(at_high | (poison.x[r] == low))
        assert 0.2 < at_high.mean() < 0.8
        design = np.column_stack([x, np.ones(len(y))])
        coefficients = np.zeros(design.shape[1])
        for _ in range(whole.trainer.epochs):  # of gradient descent on the mean of half the squared errors
            coefficients -= float(whole.trainer.rate) * design.T @ (design @ coefficients - y) / len(y)
        said = poison.x[r] @ coefficients[:-1] + coefficients[-1]
        sure = np.abs(said - (y.min() + y.max()) / 2) > 1e-3  # where the two ends are not equally far
        assert sure.sum() > 10
        farther = np.where(said - y.min() > y.max() - said, y.min(), y.max())
        np.testing.assert_allclose(poison.y[r][sure], farther[sure], rtol=1e-5)
