"""Enron spam: word counts of mails (Metsis et al. 2006), as KSL processed them, or from the mails themselves."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp

from poisoncli.core.data import Dataset
from poisoncli.core.errors import MissingDataError, PoisonError
from poisoncli.core.labels import fingerprint_sparse
from poisoncli.core.method import method, option
from poisoncli.tables import locate, matlab

PROCESSED, MAILS, WORDS = "enron/enron_data.mat", "enron1/enron1.tar.gz", "enron1/vocab.json"
LARGEST = 2**24  # bytes of a mail
MOST_WORDS = 2**20
SHA256 = "6e75481bb537d9adf419ecb74f8827aeed19486d4eaedd3a1b17a424f456dc24"  # of the processed file


@method
class Enron:
    """Spam (1) against ham (0): counts of 5,116 words in 5,172 mails, in a training and a test part (KSL Table 1).

    source: `processed`, the file of KSL's authors, or `mails`: the original set enron1, counted with the word list
    of the influence-function code (4,822 words), without a division into parts.
    """

    source: str = option("processed", choices=("processed", "mails"))

    usual_model: ClassVar[str] = "svm"
    usual_attack: ClassVar[str] = "kkt"
    settings_of: ClassVar[Mapping[str, Mapping[str, Any]]] = {"svm": {"lambda": 0.09}}  # KSL Table 1
    description: ClassVar[str] = "spam mails as word counts (sparse)"
    sizes: ClassVar[None] = None
    rows: ClassVar[int] = 5172
    features: ClassVar[int] = 5116
    class_names: ClassVar[tuple[str, ...]] = ("ham", "spam")

    def load(self, data_dir: str | None = None) -> Dataset:
        """All mails. Raises `PoisonError` for missing or damaged files."""
        if self.source == "mails":
            return read_mails(_find(MAILS, data_dir), _find(WORDS, data_dir))
        return read_processed(_find(PROCESSED, data_dir))

    @classmethod
    def where(cls, data_dir: str | None = None) -> str:
        """Where the data lie, for the listing."""
        return locate.where([PROCESSED], data_dir)


def read_processed(path: Path) -> Dataset:
    """The arrays X_train, y_train, X_test, y_test of a MATLAB file, with labels -1 and 1."""
    try:
        arrays = _arrays(path)
        parts = [sp.csr_matrix(arrays[name], dtype=np.float32) for name in ("X_train", "X_test")]
        labels = [np.asarray(arrays[name]).ravel() for name in ("y_train", "y_test")]
        x: Any = sp.vstack(parts, format="csr")
        y = (np.concatenate(labels) > 0).astype(np.float32)
        sizes = [len(part) for part in labels]
        if x.shape[0] != len(y) or np.any(x.data < 0) or np.any(x.data % 1):
            raise ValueError("the counts are no whole numbers, or do not go with the labels")
    except (KeyError, ValueError, TypeError, OSError, IndexError) as error:
        raise PoisonError(
            f"{path} is not the processed Enron file ({error}): replace it by the original"
        ) from error
    if len(set(y.tolist())) < 2:
        raise PoisonError(f"{path} has mails of one class alone: replace it by the original")
    rows = np.arange(len(y))
    return counts(x, y, (rows[: sizes[0]], rows[sizes[0] :]))


def _arrays(path: Path) -> dict[str, Any]:
    """The file's arrays; another file than the published one is not trusted."""
    import scipy.io

    with path.open("rb") as file:
        known = hashlib.file_digest(file, "sha256").hexdigest() == SHA256
    if not known:
        return matlab.read(path)
    with warnings.catch_warnings():  # its sparse matrices are made CSR, whatever kind SciPy gives
        warnings.simplefilter("ignore", DeprecationWarning)
        return scipy.io.loadmat(path)


def read_mails(archive: Path, words: Path) -> Dataset:
    """Counts of the words in `words` (JSON, word to column) in the mails of a tar file, ham and spam."""
    try:
        columns = {str(word): int(column) for word, column in json.loads(words.read_text(encoding="utf-8")).items()}
        if not all(0 <= column < MOST_WORDS for column in columns.values()):
            raise ValueError(f"columns lie outside 0 to {MOST_WORDS - 1}")
        labels, entries = [], []
        with tarfile.open(archive) as tar:
            for member in sorted(_mails(tar), key=lambda m: m.name):
                kind = Path(member.name).parent.name
                if kind not in ("ham", "spam"):
                    continue
                handle = tar.extractfile(member)
                text = handle.read(LARGEST).decode("latin-1").lower() if handle else ""
                entries += [(len(labels), columns[word]) for word in re.findall(r"[a-z]+", text) if word in columns]
                labels.append(kind == "spam")
    except (
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        EOFError,
        RecursionError,
        zlib.error,
        tarfile.TarError,
    ) as error:
        raise PoisonError(f"{archive} or {words} is damaged ({error}): replace it by the original") from error
    if len(set(labels)) < 2 or not entries:
        raise PoisonError(f"{archive} holds no folders ham and spam with mails: replace it by the original")
    row, column = np.array(entries).T
    shape = (len(labels), max(columns.values()) + 1)
    x = sp.csr_matrix((np.ones(len(row), np.float32), (row, column)), shape=shape)
    return counts(x, np.array(labels, np.float32), None)


def _mails(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The files of an archive; links are left out. Raises `ValueError` for one that is too large for a mail."""
    for member in tar:
        if member.size > LARGEST:  # what is skipped is unzipped too
            raise ValueError(f"{member.name} is larger than {LARGEST} bytes")
        if member.isfile():
            yield member


def counts(x: Any, y: np.ndarray, parts: tuple[np.ndarray, np.ndarray] | None) -> Dataset:
    """A data set of word counts: whole numbers, from 0 up."""
    x.sum_duplicates()
    return Dataset(x, y, 0.0, np.inf, "binary", fingerprint_sparse(x, y), integer=True, parts=parts)


def _find(name: str, data_dir: str | None) -> Path:
    found = locate.find(name, data_dir)
    if found is None:
        raise MissingDataError(
            f"{Path(name).name} was not found: put it into {locate.place(name, data_dir).parent}, or name the "
            f"folder that holds {name} with --data-dir or POISON_DATA_DIR"
        )
    return found
