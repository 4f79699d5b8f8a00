"""Where the free rows stand in each step's rows, against the rows written out."""

import numpy as np
import pytest

from poisoncli.bilevel.places import places_of
from poisoncli.training.minibatches import members
from poisoncli.training.trainers import SGD, batches_of

ROWS, FREE, STEPS = 11, 4, 12


def step_rows(size: int, t: int) -> np.ndarray:
    """Numbers of the rows that step t sees, -1 where a batch is filled up."""
    return members(ROWS, size)[t % -(-ROWS // size)] if size else np.arange(ROWS)


@pytest.mark.parametrize("size", [0, 3, 5])
def test_each_finds_the_free_rows(size):
    trainer = SGD(0.1, 3, size)
    places = places_of(trainer, ROWS, FREE)
    for t in range(batches_of(trainer, ROWS) + 1):
        rows = step_rows(size, t)
        for shape in ((len(rows),), (len(rows), 2, 3)):
            d = np.random.default_rng(t).normal(size=shape).astype(np.float32)
            missing = np.zeros_like(d[0])
            wanted = [d[list(rows).index(row)] if row in rows else missing for row in range(ROWS - FREE, ROWS)]
            np.testing.assert_array_equal(places.each(d, np.asarray(t)), np.stack(wanted))


@pytest.mark.parametrize("size", [0, 3, 5])
def test_total_is_the_sum_of_outer_products(size):
    places, rng = places_of(SGD(0.1, 3, size), ROWS, FREE), np.random.default_rng(0)
    w, v = rng.normal(size=(2, STEPS, 2, 5)).astype(np.float32)
    picked, expected = [], np.zeros((FREE, 5))
    for t in range(STEPS):
        rows = step_rows(size, t)
        d_h, d_vh = rng.normal(size=(2, len(rows), 2)).astype(np.float32)
        picked.append((places.pick(d_h, np.asarray(t)), places.pick(d_vh, np.asarray(t))))
        ours = (np.asarray(places.each(d, np.asarray(t))) for d in (d_h, d_vh))
        expected += sum(d @ by for d, by in zip(ours, (w[t], v[t]), strict=True))
    d_h, d_vh = (np.stack(each) for each in zip(*picked, strict=True))
    # so many steps end with a whole pass, as every training does
    np.testing.assert_allclose(places.total(d_h, w, d_vh, v), expected, rtol=1e-5, atol=1e-5)
