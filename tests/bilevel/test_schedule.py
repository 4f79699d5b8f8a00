"""How a bilevel attack divides its work."""

import jax
import numpy as np
import pytest
import settings_of_lambda
from hypothesis import given
from hypothesis import strategies as st

from poisoncli.bilevel import schedule
from poisoncli.bilevel.schedule import Schedule, make_schedule
from poisoncli.core.attack import Problem, Threat
from poisoncli.core.data import Data
from poisoncli.core.errors import PoisonError
from poisoncli.core.losses import cross_entropy
from poisoncli.core.victim import Objective
from poisoncli.models.logistic import Logistic
from poisoncli.training.trainers import SGD

sizes = st.integers(1, 12)


def problem(repetitions=1, n=40, m=6, counts=(0, 4, 8), learn=False):
    data = Data(
        np.zeros((repetitions, n, m), np.float32),
        np.zeros((repetitions, n), np.float32),
        np.ones((repetitions, n), np.float32),
    )
    objective = Objective(Logistic(), cross_entropy, "l2", float(n))
    threat = Threat(counts, np.float32(0), np.float32(1))
    return Problem(data, data, objective, SGD(), threat, np.zeros((repetitions, 1), np.float32), np.array([learn]))


@pytest.fixture(scope="module")
def memory():
    """Sets how many bytes a group may take."""
    with pytest.MonkeyPatch.context() as patch:
        yield lambda size: patch.setattr(schedule, "CPU_MEMORY", size)


@given(repetitions=sizes, outer=st.integers(1, 300), inner=st.integers(1, 10**6), bits=st.integers(0, 40))
def test_groups_and_spans_divide_the_work(memory, repetitions, outer, inner, bits):
    memory(2**bits)
    work = make_schedule(problem(repetitions), inner, outer)
    covered = [r for group in work.groups for r in range(group.start, group.stop)]
    assert covered == list(range(repetitions))
    assert len({group.stop - group.start for group in work.groups}) == 1
    assert work.outer_steps == outer
    assert outer % work.span == 0


@pytest.mark.parametrize(("learn", "stages"), [(False, (1, 2)), (True, (0, 1, 2))])
def test_clean_rows_need_work_only_to_learn_lambda(learn, stages):
    assert make_schedule(problem(learn=learn), 10, 7).stages == stages


def test_little_memory_makes_small_groups_without_stored_products(memory):
    memory(2**40)
    roomy = make_schedule(problem(6), 10, 7)
    memory(1)
    tight = make_schedule(problem(6), 10, 7)
    assert (len(roomy.groups), roomy.store) == (1, True)
    assert (len(tight.groups), tight.store) == (6, False)


def test_repetitions_of_several_settings_go_together_where_a_step_is_short(memory):
    memory(2**30)

    def groups(n):
        one = problem(6, n)
        return len(make_schedule(one._replace(settings=3, log_lambda=np.zeros((18, 1), np.float32)), 100, 7).groups)

    assert groups(40) == 1
    assert groups(20_000) == 2
    assert groups(400_000) == 6
    assert len(make_schedule(problem(6, 400_000), 100, 7).groups) == 2


@given(groups=sizes, stages=sizes, outer=sizes, data=st.data())
def test_parts_go_on_from_anywhere(groups, stages, outer, data):
    work = Schedule(tuple(slice(g, g + 1) for g in range(groups)), tuple(range(stages)), outer, 1, True)

    def steps(done):
        return [(part.group, part.stage, t) for part in work.parts(done) for t in range(part.first, outer)]

    done = data.draw(st.integers(0, work.total))
    assert len(steps(0)) == work.total == len(set(map(str, steps(0))))
    assert steps(done) == steps(0)[done:]


def test_memory_of_the_device_counts(monkeypatch):
    class Device:
        platform = "gpu"

        def memory_stats(self):
            return {"bytes_limit": size}

    size = 40_000
    monkeypatch.setattr(jax, "devices", lambda: [Device()])
    assert len(make_schedule(problem(3), 10, 7).groups) == 3
    size = 9_000  # of the 9,404 that a single repetition needs beside the poison of all
    with pytest.raises(PoisonError, match="on the accelerator: take fewer -o inner_steps"):
        make_schedule(problem(3), 10, 7)


@pytest.mark.parametrize(
    "how", [{"inner_steps": 10**9}, {"outer_steps": 10**8}, {"outer_steps": 10**6, "trail": 100}]
)
def test_an_attack_that_cannot_fit_is_refused(monkeypatch, how):
    monkeypatch.setenv("POISON_MEMORY", "1")
    make_schedule(problem(), 1000, 1000)
    with pytest.raises(PoisonError, match=r"the attack needs about .* GiB of memory"):
        make_schedule(problem(), **{"inner_steps": 10, "outer_steps": 10, **how})


def test_steps_that_are_not_differentiated_through_keep_nothing(monkeypatch):
    monkeypatch.setenv("POISON_MEMORY", "1")
    make_schedule(problem(), 10**9, 10, last=100)


@pytest.mark.parametrize(
    ("name", "n", "m", "says"),
    [
        # 350 points of 784 features and one lambda; 785 parameters, and the free block with its transpose
        ("forward", 5000, 784, r"274,401 free numbers and 785 parameters need about 603 GB"),
        ("exact", 400, 60_000, r"60,001 parameters need about 14 GB"),
    ],
)
def test_a_method_that_cannot_fit_is_refused_with_its_memory(memory, name, n, m, says):
    memory(2**30)
    task = problem(n=n, m=m, counts=(0, 350))
    schedule.check_memory("reverse", task)
    schedule.check_memory("cg", task)
    with pytest.raises(PoisonError, match=says):
        schedule.check_memory(name, task)
    schedule.check_memory(name, problem())


def test_as_many_settings_as_the_memory_holds(monkeypatch):
    whole = settings_of_lambda.problem(Logistic(), settings_of_lambda.STARTS, settings_of_lambda.LEARN)
    each = 4 * (6 * 20 * 64 + 2 * 6 * (64 + 2) + 6 * 20)
    for memory, expected in ((2.5 * each, 2), (each / 2, 1)):
        monkeypatch.setattr(schedule, "CPU_MEMORY", int(memory))
        assert schedule.settings_that_fit(whole, 6) == expected
