"""The data sets by name. Each is a method with `load(data_dir)`; importing them reads no data."""

from __future__ import annotations

from typing import Any

from poisoncli.core.declared import OfDataset, read
from poisoncli.datasets.breast_cancer import BreastCancer
from poisoncli.datasets.cifar10 import Cifar10
from poisoncli.datasets.digits import Digits
from poisoncli.datasets.dogfish import Dogfish
from poisoncli.datasets.enron import Enron
from poisoncli.datasets.file import File
from poisoncli.datasets.gaussians import Gaussians
from poisoncli.datasets.imdb import IMDB
from poisoncli.datasets.mnist import FashionMnist, Mnist, MnistPair, MnistTen
from poisoncli.datasets.regression import Appliances, Boston, Diabetes, Heart, House, Line, Loan, Pharm

DATASETS: dict[str, type] = {
    "digits": Digits,
    "breast-cancer": BreastCancer,
    "gaussians": Gaussians,
    "mnist": Mnist,
    "fmnist": FashionMnist,
    "cifar10": Cifar10,
    "mnist-1-7": MnistPair,
    "mnist-10": MnistTen,
    "enron": Enron,
    "imdb": IMDB,
    "dogfish": Dogfish,
    "line": Line,
    "diabetes": Diabetes,
    "boston": Boston,
    "appliances": Appliances,
    "heart": Heart,
    "house": House,
    "pharm": Pharm,
    "loan": Loan,
    "file": File,
}


def describe(data_dir: str | None = None) -> list[dict[str, Any]]:
    """One row for each data set, without loading it.

    Keys: name, description, rows and features (None if they depend on the file), classes (their names), and
    where: the folder that holds the files, "embedded", "generated", or "not found: put FILE into FOLDER".
    """
    return [_described(name, dataset, data_dir) for name, dataset in DATASETS.items()]


def _described(name: str, dataset: type, data_dir: str | None) -> dict[str, Any]:
    told = read(OfDataset, dataset)
    where: Any = getattr(dataset, "where", lambda data_dir: "wherever it finds them")
    return {
        "name": name,
        "description": told.description,
        "rows": told.rows,
        "features": told.features,
        "classes": told.class_names,
        "where": where(data_dir),
    }
