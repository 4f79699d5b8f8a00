"""The executor of this process runs one unit after another."""

from sweeps.small import small

from poisoncli.sweeps import naming
from poisoncli.sweeps.executor import Here
from poisoncli.sweeps.units import units


def test_units_run_one_at_a_time_and_their_cells_are_told(tmp_path):
    sweep, told, steps = naming.begin(small(), tmp_path), [], []
    executor = Here(tmp_path, None, lambda *step: steps.append(step), told.append)
    assert (executor.free(), executor.ended(0)) == (1, [])
    executor.start(units(sweep)[1])
    assert executor.free() == 0
    (ended,) = executor.ended(0)
    assert (ended.unit, ended.outcomes, ended.death) == ("two", told, "")
    assert told[0].status == "done"
    assert steps
    assert (executor.free(), executor.ended(0)) == (1, [])
