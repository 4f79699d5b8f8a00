"""Regression data sets of the papers: their files, and what is generated."""

import numpy as np
import pytest

from poisoncli import Choice, PoisonError
from poisoncli.runs import description


def test_loan_reads_a_file_of_jagielskis_shape(tmp_path):
    folder = tmp_path / "loan"
    folder.mkdir()
    rng = np.random.default_rng(0)
    values = rng.random((40, 89)).round(4)
    header = ",".join(["InterestRate", *(f"f{i}" for i in range(88))])
    np.savetxt(folder / "loan-processed.csv", values, delimiter=",", header=header, comments="", fmt="%.4f")
    data = description.build(Choice("loan"), "dataset").load(str(tmp_path))
    np.testing.assert_allclose(data.y, values[:, 0], rtol=1e-5)
    assert data.x.shape == (40, 88)
    (folder / "loan-processed.csv").write_text("a,b\n1,x\n")
    with pytest.raises(PoisonError, match="get it anew"):
        description.build(Choice("loan"), "dataset").load(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("boston", (506, 13)),
        ("heart", (3198, 28)),
        ("appliances", (19735, 16)),
        ("house", (1460, 274)),
        ("pharm", (4683, 204)),
    ],
)
def test_files_of_the_papers(name, shape):
    from poisoncli.tables import locate

    dataset = description.DATASETS[name]
    if locate.find(dataset.file) is None:
        pytest.skip(f"{dataset.file} is not in POISON_DATA_DIR")
    data = dataset().load()
    assert data.x.shape == shape
    assert data.task == "real"


def test_generated_line_is_the_papers():
    data = description.build(Choice("line"), "dataset").load()
    slope, level = np.polyfit(data.x[:, 0], data.y, 1)
    assert (slope, level) == (pytest.approx(0.8, abs=0.02), pytest.approx(0, abs=0.06))
    assert np.std(data.y - 0.8 * data.x[:, 0]) == pytest.approx(1.2, rel=0.03)
