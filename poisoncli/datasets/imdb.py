"""IMDB reviews as word counts (Maas et al. 2011), in the libsvm files of the original."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp

from poisoncli.core.data import Dataset
from poisoncli.core.errors import MissingDataError, PoisonError
from poisoncli.core.labels import fingerprint_sparse
from poisoncli.core.method import method
from poisoncli.tables import locate
from poisoncli.tables.archives import unzipped

PARTS = ("aclImdb/train/labeledBow.feat", "aclImdb/test/labeledBow.feat")
FEATURES = 89_527
LARGEST = 2**29  # bytes of a file unzipped; the larger part has 68 million


@method
class IMDB:
    """Good (1) against bad (0) reviews: counts of 89,527 words, 25,000 training and 25,000 test rows (KSL Table 1).

    Seven stars and more are good, four and fewer bad.
    """

    usual_model: ClassVar[str] = "svm"
    usual_attack: ClassVar[str] = "kkt"
    settings: ClassVar[Mapping[str, Any]] = {  # the grid of decoys (KSL Appendix B.2)
        "repeats": (1, 2, 3, 4, 5),
        "quantiles": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
    }
    settings_of: ClassVar[Mapping[str, Mapping[str, Any]]] = {"svm": {"lambda": 0.01}}  # KSL Table 1
    description: ClassVar[str] = "film reviews as word counts (sparse)"
    sizes: ClassVar[None] = None
    rows: ClassVar[int] = 50_000
    features: ClassVar[int] = FEATURES
    class_names: ClassVar[tuple[str, ...]] = ("bad", "good")

    def load(self, data_dir: str | None = None) -> Dataset:
        """All reviews. Raises `PoisonError` for missing or damaged files."""
        parts = [read_bag(_find(name, data_dir)) for name in PARTS]
        x: Any = sp.vstack([x for x, _ in parts], format="csr")
        y = np.concatenate([(stars > 5).astype(np.float32) for _, stars in parts])
        rows, first = np.arange(len(y)), len(parts[0][1])
        sha = fingerprint_sparse(x, y)
        return Dataset(x, y, 0.0, np.inf, "binary", sha, integer=True, parts=(rows[:first], rows[first:]))

    @classmethod
    def where(cls, data_dir: str | None = None) -> str:
        """Where the data lie, for the listing."""
        return locate.where([name if locate.find(name, data_dir) else f"{name}.gz" for name in PARTS], data_dir)


def read_bag(path: Path, features: int = FEATURES) -> tuple[Any, np.ndarray]:
    """Counts [n, features] and stars [n] of a libsvm file whose feature numbers start at 0, gzipped or plain."""
    from sklearn.datasets import load_svmlight_file

    content = io.BytesIO(unzipped(path, LARGEST))
    try:
        reader: Any = load_svmlight_file
        found = reader(content, n_features=features, zero_based=True, dtype=np.float32)
    except (ValueError, OverflowError) as error:
        raise PoisonError(f"{path} is damaged ({error}): replace it by the original") from error
    x: Any = sp.csr_matrix(found[0])
    stars = np.asarray(found[1])
    if not len(stars) or np.any(x.data < 0) or np.any(x.data % 1):
        raise PoisonError(f"{path} does not hold word counts: replace it by the original")
    return x, stars


def _find(name: str, data_dir: str | None) -> Path:
    found = locate.find(name, data_dir) or locate.find(f"{name}.gz", data_dir)
    if found is None:
        raise MissingDataError(
            f"{name} was not found: unpack aclImdb_v1.tar.gz into {locate.place(name, data_dir).parents[2]}, "
            "or name the folder that holds aclImdb with --data-dir or POISON_DATA_DIR"
        )
    return found
