"""The data sets by name. Each is a method with `load(data_dir)`; importing them reads no data."""

from __future__ import annotations

from typing import Any

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

REAL: dict[str, type] = {  # data sets with real targets
    "line": Line,
    "diabetes": Diabetes,
    "boston": Boston,
    "appliances": Appliances,
    "heart": Heart,
    "house": House,
    "pharm": Pharm,
    "loan": Loan,
}

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
    **REAL,
    "file": File,
}


def describe(data_dir: str | None = None) -> list[dict[str, Any]]:
    """One row for each data set, without loading it.

    Keys: name, description, rows and features (None if they depend on the file), classes (their names), and
    where: the folder that holds the files, "embedded", "generated", or "not found: put FILE into FOLDER".
    """
    return [
        {
            "name": name,
            "description": dataset.description,
            "rows": dataset.rows,
            "features": dataset.features,
            "classes": dataset.class_names,
            "where": dataset.where(data_dir),
        }
        for name, dataset in DATASETS.items()
    ]
