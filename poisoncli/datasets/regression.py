"""Data sets with real targets: generated, embedded in scikit-learn, or from the files of earlier papers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from poisoncli.core.data import Dataset, Task
from poisoncli.core.declared import as_tabled
from poisoncli.core.errors import MissingDataError, PoisonError
from poisoncli.core.labels import fingerprint
from poisoncli.core.method import method
from poisoncli.tables import locate


@method
class Line:
    """y = 0.8 x + noise: x from U(-5, 5), the noise from N(0, 1.2^2) (SPR Appendix E).

    seed: of the pool of 5,000 rows, at least 0.
    """

    seed: int = 0

    task: ClassVar[Task] = "real"
    description: ClassVar[str] = "a noisy line, for pictures (real target)"
    sizes: ClassVar[tuple[int, int, int]] = (100, 100, 1000)
    rows: ClassVar[int] = 5000
    features: ClassVar[int] = 1
    class_names: ClassVar[tuple[str, ...]] = ()

    def load(self, data_dir: str | None = None) -> Dataset:
        """The pool of 5,000 rows; `data_dir` is not used. Raises `PoisonError` for a negative seed."""
        if self.seed < 0:
            raise PoisonError(f"the seed of line is {self.seed}: give 0 or more")
        rng = np.random.default_rng(self.seed)
        x = rng.uniform(-5, 5, (self.rows, 1))
        return _real(x, 0.8 * x[:, 0] + 1.2 * rng.standard_normal(self.rows))

    @classmethod
    def where(cls, data_dir: str | None = None) -> str:
        """Where the data lie, for the listing."""
        return "generated"


@method
class Diabetes:
    """Progression of diabetes in a year by ten measures (Efron et al. 2004), from scikit-learn."""

    task: ClassVar[Task] = "real"
    description: ClassVar[str] = "progression of diabetes in 442 patients (real target)"
    sizes: ClassVar[tuple[int, int, int]] = (221, 66, 155)
    rows: ClassVar[int] = 442
    features: ClassVar[int] = 10
    class_names: ClassVar[tuple[str, ...]] = ()

    def load(self, data_dir: str | None = None) -> Dataset:
        """All rows; `data_dir` is not used."""
        from sklearn.datasets import load_diabetes

        bunch = load_diabetes()
        return _real(bunch.data, bunch.target)  # type: ignore[attr-defined]

    @classmethod
    def where(cls, data_dir: str | None = None) -> str:
        """Where the data lie, for the listing."""
        return "embedded"


class _Filed:
    """A table of numbers in one file, .csv with a header line or .npy, whose column `target` is the target."""

    task: ClassVar[Task] = "real"
    rows: ClassVar[int | None]
    features: ClassVar[int]
    file: ClassVar[str]
    target: ClassVar[int] = 0
    class_names: ClassVar[tuple[str, ...]] = ()
    origin: ClassVar[str] = ""  # where the file is to be had, if that needs saying

    def load(self, data_dir: str | None = None) -> Dataset:
        """All rows. Raises `PoisonError` if the file is missing or damaged."""
        path = _find(self.file, data_dir, self.origin)
        values = (_read_npy if path.suffix == ".npy" else _read_csv)(path)
        shape = values.shape
        if len(shape) != 2 or shape[1] != self.features + 1 or self.rows not in (None, shape[0]):
            wanted = f"{self.rows or 'some'} rows of {self.features} features and a target"
            raise PoisonError(f"{path} holds an array of shape {shape}, not {wanted}: get it anew")
        if values.dtype.kind not in "fiu" or not np.all(np.isfinite(values)):
            raise PoisonError(f"{path} holds values that are no finite numbers: get it anew")
        return _real(np.delete(values, self.target % shape[1], axis=1), values[:, self.target])

    @classmethod
    def where(cls, data_dir: str | None = None) -> str:
        """Where the data lie, for the listing."""
        return locate.where([cls.file], data_dir)


@method
class Boston(_Filed):
    """Boston housing (Harrison and Rubinfeld 1978): the median price by 13 measures of the town."""

    settings: ClassVar[Mapping[str, Any]] = {"batch": 19}
    settings_of: ClassVar[Mapping[str, Mapping[str, Any]]] = {  # SPR Tables II and III, here and below
        "linear": as_tabled(100, 0.9, 0.1, 40),
    }
    description: ClassVar[str] = "house prices in 506 towns near Boston (real target)"
    sizes: ClassVar[tuple[int, int, int]] = (253, 76, 177)
    rows: ClassVar[int | None] = 506
    features: ClassVar[int] = 13
    target: ClassVar[int] = -1
    file: ClassVar[str] = "boston/boston.csv"


@method
class Appliances(_Filed):
    """Energy use of appliances (Candanedo et al. 2017), in the form of BIG-LID (Weerasinghe et al. 2021)."""

    settings: ClassVar[Mapping[str, Any]] = {"batch": 740}
    settings_of: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "linear": as_tabled(50, 0.9, 0.2, 70),
    }
    description: ClassVar[str] = "energy use of the appliances in a house, 19,735 times (real target)"
    sizes: ClassVar[tuple[int, int, int]] = (9868, 2960, 6907)
    rows: ClassVar[int | None] = 19_735
    features: ClassVar[int] = 16
    target: ClassVar[int] = -1
    file: ClassVar[str] = "biglid/appliances.npy"


@method
class Heart(_Filed):
    """Heart disease by county, in the form of BIG-LID (Weerasinghe et al. 2021)."""

    settings: ClassVar[Mapping[str, Any]] = {"batch": 120}
    settings_of: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "linear": as_tabled(50, 0.9, 0.1, 40),
        "mlp": as_tabled(80, 0.9, 0.1, 100),
    }
    description: ClassVar[str] = "heart disease in 3,198 counties (real target)"
    sizes: ClassVar[tuple[int, int, int]] = (1599, 480, 1119)
    rows: ClassVar[int | None] = 3198
    features: ClassVar[int] = 28
    target: ClassVar[int] = -1
    file: ClassVar[str] = "biglid/heart_disease.npy"


@method
class House(_Filed):
    """House prices in Ames by 274 features, as processed by Jagielski et al. (2018)."""

    settings_of: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "linear": as_tabled(50, 0.9, 0.03, 100),  # not in SPR; the columns are correlated, a step of 0.1 diverges
    }
    description: ClassVar[str] = "1,460 house prices in Ames (real target)"
    sizes: ClassVar[tuple[int, int, int]] = (730, 219, 511)
    rows: ClassVar[int | None] = 1460
    features: ClassVar[int] = 274
    file: ClassVar[str] = "house/house-processed.csv"


@method
class Pharm(_Filed):
    """Doses of warfarin by 204 features of the patient, as processed by Jagielski et al. (2018)."""

    settings_of: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "linear": as_tabled(50, 0.9, 0.03, 100),  # not in SPR; the columns are correlated, a step of 0.1 diverges
    }
    description: ClassVar[str] = "4,683 doses of warfarin (real target)"
    sizes: ClassVar[tuple[int, int, int]] = (2341, 702, 1640)
    rows: ClassVar[int | None] = 4683
    features: ClassVar[int] = 204
    file: ClassVar[str] = "pharm/pharm-preproc.csv"


@method
class Loan(_Filed):
    """Interest rates of loans by 88 features, as processed by Jagielski et al. (2018); target first.

    The file may have more rows than SPR's 6,722: the splits are drawn from all of them.
    """

    settings: ClassVar[Mapping[str, Any]] = {"batch": 252}
    settings_of: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "linear": as_tabled(120, 0.9, 0.1, 30),
        "mlp": as_tabled(150, 0.9, 0.1, 90),
    }
    description: ClassVar[str] = "interest rates of Lending Club loans (real target)"
    sizes: ClassVar[tuple[int, int, int]] = (3361, 1008, 2353)
    rows: ClassVar[int | None] = None
    features: ClassVar[int] = 88
    file: ClassVar[str] = "loan/loan-processed.csv"
    origin: ClassVar[str] = (
        "it came with the code of Jagielski et al. 2018, github.com/jagielski/manip-ml, which does not hold it any "
        "more: ask its authors"
    )


def _real(x: np.ndarray, y: np.ndarray) -> Dataset:
    """A data set whose domain is the range of its features."""
    x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
    return Dataset(x, y, x.min(0), x.max(0), "real", fingerprint(x, y))


def _find(name: str, data_dir: str | None, origin: str = "") -> Path:
    path = locate.find(name, data_dir)
    if path is None:
        raise MissingDataError(
            f"{Path(name).name} was not found: put it into {locate.place(name, data_dir).parent}, or name the "
            f"folder that holds {name} with --data-dir or POISON_DATA_DIR{origin and f' ({origin})'}"
        )
    return path


def _read_csv(path: Path) -> np.ndarray:
    import pandas

    try:
        return pandas.read_csv(path).to_numpy(np.float64)
    except (ValueError, OSError) as error:
        raise PoisonError(
            f"{path} is not a CSV file of numbers ({str(error).splitlines()[0]}): get it anew"
        ) from None


def _read_npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError):
        raise PoisonError(f"{path} is not a NumPy array of numbers: get it anew") from None
