"""The loss defense: losses under the victim that is trained on all rows (KSL section 2.2)."""

import jax
import numpy as np
import planes
import pytest
from two_classes import check, rows

from poisoncli.core.errors import PoisonError
from poisoncli.defenses.loss import Loss


def test_the_rows_with_the_highest_loss_go():
    data = rows()
    design = np.column_stack([data.x, np.ones(60)])
    w = np.zeros(6)
    trainer = planes.learner("binary", "logistic").trainer
    for _ in range(trainer.epochs):
        w -= trainer.rate * design.T @ (1 / (1 + np.exp(-design @ w)) - data.y) / 60
    logit = design @ w
    check(Loss(remove=0.1), np.logaddexp(0, np.where(data.y == 1, -logit, logit)), data)


def test_real_targets_are_refused():
    with pytest.raises(PoisonError, match="real targets"):
        Loss().weigh(jax.random.key(0), planes.plane().data, planes.learner(), planes.NOBODY)
