"""Poison points from files of other tools, none of which is trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from poisoncli.core.errors import PoisonError
from poisoncli.tables import matlab
from poisoncli.tables.archives import check_arrays
from poisoncli.tables.inspect import MARKS, Request, inspect, refuse

NAMES = {  # of features and labels, whatever their case; what says poison goes before what may be all rows
    name: (
        *(f"{name}_poison", f"{name}_attack", f"{name}_pois", f"{name}_adv", f"{name}_p", f"{name}p"),
        *(f"poison_{name}", f"poisoned_{name}", f"pois{name}", f"poison{name}", f"attack_{name}"),
        *(name, f"{name}_train", f"poisoned_{name}_train", "features" if name == "x" else "labels"),
    )
    for name in ("x", "y")
}


def read(path: Path, classes: int = 2) -> tuple[Any, np.ndarray]:
    """Features [n, m] (float32, dense or CSR) and labels [n] from 0 to classes - 1; see the attack `given`.

    classes: 0 means real targets.

    Raises `PoisonError` if the file is missing, damaged, of unknown format, or has other labels.
    """
    if not path.is_file():
        raise PoisonError(f"there is no file {path}: check the path")
    suffix = path.suffix.lower()
    if suffix in (".npz", ".mat"):
        try:
            arrays = _npz(path) if suffix == ".npz" else matlab.read(path)
            x, y = _matrix(arrays), np.asarray(_named(arrays, "y")).ravel()
            chosen = arrays.get("poison")
        except PoisonError:
            raise
        except Exception as error:  # readers raise whatever they like on damaged files
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise PoisonError(f"{path} cannot be read as {suffix} ({reason}): check the file") from error
    else:
        x, y, chosen = _table(path)
    if x.shape[0] != len(y):
        raise PoisonError(f"{path} has {x.shape[0]} points and {len(y)} labels: give one label for each point")
    if chosen is not None:
        rows = np.flatnonzero(np.asarray(chosen).ravel() == 1)
        x, y = x[rows], y[rows]
    values = x.data if sp.issparse(x) else x
    if not np.all(np.isfinite(values)):
        raise PoisonError(f"{path} has features that are missing or infinite: mend or remove those rows")
    return x, _labels(y, path, classes)


def _table(path: Path) -> tuple[Any, np.ndarray, Any]:
    """Features and labels of a table of numbers, and which rows are poison where a column says so."""
    found = inspect(Request(str(path)))
    refuse(found.problems, str(path))
    y = found.frame[found.target].to_numpy()
    chosen = found.frame["poison"].to_numpy() if "poison" in found.frame else None
    if found.x is not None:
        return found.x, y, chosen
    names = [name for name in found.frame.columns if name not in (found.target, *MARKS)]
    try:
        return found.frame[names].to_numpy(float, na_value=np.nan), y, chosen
    except (ValueError, TypeError):
        raise PoisonError(f"{path} has columns that are no numbers: encode them as the features are") from None


def _labels(y: np.ndarray, path: Path, classes: int) -> np.ndarray:
    found = np.unique(y)
    if classes == 0:
        if y.dtype.kind not in "biuf" or not np.all(np.isfinite(y)):
            raise PoisonError(f"{path} has targets that are no finite numbers: mend or remove those rows")
        return y.astype(np.float32)
    if classes > 2:
        if y.dtype.kind not in "biuf" or not np.all(np.isin(found, np.arange(classes))):
            raise PoisonError(f"{path} has other labels than 0 to {classes - 1}: number the classes so")
        return y.astype(np.float32)
    if y.dtype.kind not in "biuf" or not (np.all(np.isin(found, (0, 1))) or np.all(np.isin(found, (-1, 1)))):
        raise PoisonError(f"{path} has other labels than 0 and 1, or -1 and 1: encode the two classes so")
    return (y > 0).astype(np.float32)


def _npz(path: Path) -> dict[str, Any]:
    check_arrays(path)
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _named(arrays: dict[str, Any], name: str) -> Any:
    """The array of features `x` or labels `y`, by our name or by one that other authors use."""
    found = {key.lower(): key for key in arrays}
    for usual in NAMES[name]:
        if usual in found:
            return arrays[found[usual]]
    shown = ", ".join(key for key in arrays if not key.startswith("__"))
    raise PoisonError(f"the file of poison points has no array {name!r} but {shown}: call features x and labels y")


def _matrix(arrays: dict[str, Any]) -> Any:
    """Features, from a dense array, or from the arrays of a CSR matrix, which are checked."""
    if {"data", "indices", "indptr", "shape"} <= set(arrays):
        parts = (arrays["data"].astype(np.float32), arrays["indices"], arrays["indptr"])
        x = sp.csr_matrix(parts, shape=tuple(int(size) for size in arrays["shape"]))
        x.check_format(full_check=True)
        return x
    x = _named(arrays, "x")
    if sp.issparse(x):
        return sp.csr_matrix(x, dtype=np.float32)
    x = np.asarray(x)
    if x.ndim < 2 or x.dtype.kind not in "biuf":
        raise PoisonError("the features x are no table of numbers: give one row for each point")
    return x.reshape(len(x), -1).astype(np.float32)
