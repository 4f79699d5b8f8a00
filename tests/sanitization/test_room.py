"""The memory that an attack needs is told before it begins."""

import jax
import numpy as np
import pytest
import scipy.sparse as sp

from poisoncli import Choice, PoisonError, Run
from poisoncli.runs import description
from poisoncli.runs.prepare import prepare
from poisoncli.runs.problem import problem
from poisoncli.sanitization.room import Work, needed
from poisoncli.tables import memory

TINY = {"n_train": 30, "n_val": 10, "n_test": 10, "fraction": 0.1, "lambda_": 0.1}
BINARY = ("kkt", "minmax", "minmax-basic", "influence", "influence-basic", "alfa")


@pytest.mark.parametrize("name", [*BINARY, "minmax of three classes"])
def test_an_attack_that_needs_more_memory_than_there_is_does_not_begin(monkeypatch, name):
    many = name not in BINARY
    dataset = Choice("digits", {"classes": ("0", "1", "2")}) if many else Choice("breast-cancer")
    model = Choice("multisvm", {"passes": 0}) if many else Choice("svm")
    run = Run(dataset=dataset, model=model, attack=Choice(name.split()[0]), **TINY)
    prepared = prepare(description.resolve(run))
    method, asked = description.build(prepared.run.attack, "attack"), problem(prepared)
    next(method.craft(jax.random.key(0), asked))
    monkeypatch.setattr(memory, "limit", lambda: 1000)
    with pytest.raises(PoisonError, match=r"the attack needs about .* GiB of memory.*: take fewer rows"):
        next(method.craft(jax.random.key(0), asked))


def test_the_need_grows_with_rows_copies_candidates_and_threads():
    work = Work(np.zeros((1000, 50)), 30)
    more = [
        work._replace(clean=np.zeros((2000, 50))),
        work._replace(poison=3000),
        work._replace(added=5000.0),
        work._replace(points=5000),
        work._replace(waiting=500),
        work._replace(cores=16),
    ]
    assert all(needed(one) > needed(work) for one in more)
    thin: sp.csr_matrix = sp.csr_matrix((20_000, 5000))
    assert needed(Work(thin, 30)) == 2 * 2**30  # the distances among sparse rows, a part at a time
    assert needed(Work(thin, 30, knn=False)) < 2**25
