"""What a trained victim is worth: scores, and one compilation for all of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from cases import digits

from poisoncli.core.losses import ERROR, cross_entropy
from poisoncli.core.victim import Objective
from poisoncli.models.logistic import Logistic
from poisoncli.training.descent import fit
from poisoncli.training.layers import forward, zeros
from poisoncli.training.layout import lay_out
from poisoncli.training.score import train_and_score
from poisoncli.training.trainers import SGD


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Watched:
    """A logistic model that notes when it is traced."""

    linear_first = True

    seen: list = dataclasses.field(metadata={"static": True}, hash=False, compare=False)

    def __hash__(self):
        return id(self.seen)

    def init(self, key, m, outputs=1):
        return zeros(m)

    def output(self, params, h):
        self.seen.append(h.shape)
        return forward(params, h, 0.0)


def test_new_values_do_not_trace_again():
    seen = []
    objective = Objective(Watched(seen), cross_entropy, "l2", 14.0)
    data = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32)[None], digits(14, 1))

    def score(rate, log_lambda, seed):
        keys = jax.random.split(jax.random.key(seed), 1)
        train_and_score(
            keys, objective, SGD(rate, 7), data, jnp.full((1, 1), log_lambda), data, data, error=ERROR["binary"]
        )
        return len(seen)

    first = score(0.1, 0.0, 0)
    assert first > 0
    assert score(0.2, -jnp.inf, 1) == first
    assert score(0.3, 2.5, 2) == first


def test_scores_are_those_of_each_repetition_trained_alone(strict):
    train, val, test = (
        jax.tree.map(lambda *leaves: np.stack(leaves), *(digits(rows, seed + r) for r in range(2)))
        for rows, seed in ((14, 1), (10, 3), (12, 5))
    )
    objective, trainer = Objective(Logistic(), cross_entropy, "l2", 14.0), SGD(0.1, 7)
    keys, log_lambda = jax.random.split(jax.random.key(0), 2), jnp.array([[0.5], [-1.0]])
    found = train_and_score(keys, objective, trainer, train, log_lambda, val, test, error=ERROR["binary"])
    for r in range(2):
        own, other = (jax.tree.map(lambda leaf, r=r: leaf[r], part) for part in (train, test))
        params = fit(objective, trainer, zeros(64), log_lambda[r], lay_out(own))
        w, b = np.asarray(params[0]["w"])[0], float(params[0]["b"][0])
        logit, kept = other.x @ w + b, other.weight == 1
        assert found.test_error[r] == np.mean((logit > 0) != (other.y > 0.5), where=kept)
        loss = np.logaddexp(0, np.where(other.y > 0.5, -logit, logit))
        np.testing.assert_allclose(found.test_loss[r], loss[kept].mean(), rtol=1e-9)
        np.testing.assert_allclose(found.norm[r, 0], (w @ w + b**2) / 65, rtol=1e-9)
        np.testing.assert_allclose(found.params[0]["w"][r, 0], w, rtol=1e-12)
    assert not np.allclose(found.val_loss, found.test_loss)
