import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planes import NOBODY, learner, plane, weighted_line

from poisoncli.core.data import Data
from poisoncli.core.defense import Clues
from poisoncli.core.errors import PoisonError
from poisoncli.defenses.trim import Trim

KEY = jax.random.key(0)


def test_finds_the_rows_that_lie_off_the_plane():
    case = plane()
    verdict = Trim(fraction=0.2).weigh(KEY, case.data, learner(), NOBODY)
    np.testing.assert_array_equal(verdict.weight == 0, case.bad)
    assert verdict.score[case.bad].min() > verdict.score[~case.bad].max()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), bad=st.integers(0, 40))
def test_does_not_depend_on_the_order_of_rows(seed, bad):
    data = plane(seed, bad=bad, far=3.0).data
    order = np.random.default_rng(seed).permutation(len(data.y))
    weight = Trim().weigh(KEY, data, learner(), NOBODY).weight
    shuffled = Trim().weigh(KEY, Data(*(leaf[order] for leaf in data)), learner(), NOBODY).weight
    np.testing.assert_array_equal(shuffled, weight[order])


@pytest.mark.long
@settings(max_examples=8, deadline=None)
@given(fraction=st.sampled_from([0.0, 0.013, 0.25, 0.5, 0.99]), seed=st.integers(0, 10**6))
def test_rejects_exactly_as_many_rows_as_asked(fraction, seed):
    weight = Trim(fraction=fraction).weigh(KEY, plane(seed).data, learner(), NOBODY).weight
    assert set(weight) <= {0.0, 1.0}
    assert np.sum(weight == 0) == round(120 * fraction)


def test_the_true_fraction_is_used_only_where_it_is_told():
    case = plane()
    clues = Clues(NOBODY.trusted, 0.2)
    told = Trim(told=True)
    assert np.sum(told.weigh(KEY, case.data, learner(), clues).weight == 0) == 24
    assert told.knows() == "the true fraction"
    assert np.sum(Trim().weigh(KEY, case.data, learner(), clues).weight == 0) == 48
    assert Trim().knows() == "a fraction (0.4)"


@pytest.mark.parametrize(
    ("defense", "word"), [(Trim(fraction=1.0), "leaves none"), (Trim(told=True), "nobody knows")]
)
def test_refuses_what_cannot_be_done(defense, word):
    with pytest.raises(PoisonError, match=word):
        defense.weigh(KEY, plane().data, learner(), NOBODY)


def test_rejects_flipped_labels_of_a_classifier():
    rng = np.random.default_rng(0)
    y = np.repeat([0.0, 1.0], 60).astype(np.float32)
    x = (rng.standard_normal((120, 2)) * 0.3 + (2 * y - 1)[:, None]).astype(np.float32)
    labels = y.copy()
    labels[55:65] = 1 - labels[55:65]
    data = Data(x, labels, np.ones(120, np.float32))
    weight = Trim(fraction=10 / 120).weigh(KEY, data, learner("binary", "logistic"), NOBODY).weight
    np.testing.assert_array_equal(np.flatnonzero(weight == 0), np.arange(55, 65))


def test_the_score_is_half_the_squared_residual_to_the_line_through_the_rows_kept():
    """It grades all rows, those kept among them; also of poison that is near enough to be kept."""
    case = plane(far=0.5)
    verdict = Trim(fraction=0.1).weigh(KEY, case.data, learner(), NOBODY)
    line = weighted_line(case.data, verdict.weight)
    residual = case.data.x @ line[:-1] + line[-1] - case.data.y
    np.testing.assert_allclose(verdict.score, residual**2 / 2, rtol=0.05, atol=2e-3)
    assert len(np.unique(verdict.score)) == 120
    assert verdict.score[verdict.weight == 0].min() >= verdict.score[verdict.weight > 0].max()
    worst = np.argsort(-verdict.score)[:12]
    assert np.mean(case.bad[worst]) > 0.9


def test_starts_that_would_fill_the_memory_are_refused(monkeypatch):
    monkeypatch.setenv("POISON_MEMORY", "0.001")
    with pytest.raises(PoisonError, match=r"trim with 1,000 starts needs about .*: choose fewer -o starts"):
        Trim(starts=1000).weigh(KEY, plane().data, learner(), NOBODY)
