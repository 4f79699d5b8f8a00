"""What an attack sees: how many rows it may change at each stage."""

import dataclasses

import numpy as np
import pytest

from poisoncli import Choice, PoisonError, Run
from poisoncli.runs import description
from poisoncli.runs.problem import counts_of


@pytest.mark.parametrize(
    ("dataset", "n", "batch"),
    [("loan", 3361, 252), ("heart", 1599, 120), ("boston", 253, 19), ("appliances", 9868, 740)],
)
def test_the_papers_batches_make_seven_fractions(dataset, n, batch):
    run = description.resolve(Run(dataset=Choice(dataset)))
    counts = counts_of(Run(**{**run.__dict__, "n_train": n}), "real")
    assert counts == tuple(range(0, 6 * batch + 1, batch))


@pytest.mark.parametrize("n", [4, 10, 60, 86, 100, 142, 253, 300, 1000, 5000])
@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.193, 0.2, 0.3, 0.35, 0.45, 0.9, 0.9999])
@pytest.mark.parametrize("dataset", ["line", "breast-cancer"])
@pytest.mark.parametrize("batch", [0, 3])
def test_the_fraction_is_reached_to_the_row(dataset, n, fraction, batch):
    run = description.resolve(Run(dataset=Choice(dataset), fraction=fraction))
    run.attack.options["batch"] = batch
    run = dataclasses.replace(run, n_train=n)
    task = "real" if dataset == "line" else "binary"
    if n * fraction < 1:
        with pytest.raises(PoisonError, match="less than one row"):
            counts_of(run, task)
        return
    counts = counts_of(run, task)
    assert counts[-1] <= n - 1
    assert abs(counts[-1] - min(fraction * n, n - 1)) < 1
    *sizes, last = np.diff(counts)
    assert len(set(sizes)) <= 1
    assert 0 < last <= min([*sizes, last])
    assert batch == 0 or max(np.diff(counts)) <= batch
