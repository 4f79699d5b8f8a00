"""poison export: the same rows in every format, of the stage and repetition asked for."""

import numpy as np
import pytest
from command import done, refused

from poisoncli.datasets.digits import Digits
from poisoncli.runs import run_file

pytestmark = pytest.mark.usefixtures("folder")


def test_exports_hold_the_same_rows(run):
    import pandas

    for suffix in ("npz", "csv", "parquet"):
        assert done("export", run, f"out.{suffix}") == [f"out.{suffix}"]
    with np.load("out.npz") as found:
        frames = [pandas.read_csv("out.csv"), pandas.read_parquet("out.parquet")]
        for frame in frames:
            np.testing.assert_allclose(frame.filter(regex="^x").to_numpy(), found["x"], rtol=1e-6)
            for name in ("y", "poison", "row", "replaced"):
                np.testing.assert_array_equal(frame[name], found[name])
        assert found["poison"].sum() == 8
        assert found["x"].shape == (40, 64)


def test_export_chooses_stage_and_repetition(run):
    content, chosen = run_file.read(run), Digits().load().row_numbers
    done("export", run, "out.npz", "--fraction", "0.12", "--repetition", "1", "--params")
    with np.load("out.npz") as found:
        assert found["poison"].sum() == 4
        np.testing.assert_array_equal(found["row"], chosen[content.split["train"][1]])
        np.testing.assert_array_equal(found["w0"], content.evaluations["none"].params[0]["w"][1, 1])
        assert set(found["row"][found["poison"] == 1]) == set(found["replaced"]) - {-1}


def test_parameters_of_an_untrained_victim_are_refused(plain):
    refused("export", plain, "out.npz", "--params", says="run `poison evaluate`")
